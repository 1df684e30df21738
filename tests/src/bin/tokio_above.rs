//! An async main, with tokio's attribute above ours.

use offshoot::{Process, Start};

#[offshoot::entry]
fn seven(_start: Start) -> std::process::ExitCode {
    std::process::ExitCode::from(7)
}

#[tokio::main(flavor = "current_thread")]
#[offshoot::main]
async fn main() -> Result<(), offshoot::Error> {
    let report = offshoot::doctor();
    println!("{:?} {}", report.road, report.threads_at_hook);
    let child = Process::new()?.run(seven)?;
    println!("awaited {:?}", child.exited().await?.code());
    Ok(())
}
