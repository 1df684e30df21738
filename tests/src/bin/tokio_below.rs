//! An async main, with tokio's attribute below ours.

use offshoot::{Process, Start};

#[offshoot::entry]
fn seven(_start: Start) -> std::process::ExitCode {
    std::process::ExitCode::from(7)
}

#[offshoot::main]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), offshoot::Error> {
    let report = offshoot::doctor();
    println!("{:?} {}", report.road, report.threads_at_hook);
    let child = Process::new()?.run(seven)?;
    println!("awaited {:?}", child.exited().await?.code());
    Ok(())
}
