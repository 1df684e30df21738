//! What a worker logs appears in this program's log, as if it had happened here
//! (`AnyEvent::Fork::RPC`, example 4 of its later versions).

use offshoot::Process;
use tracing::{Level, info, info_span, warn};

#[offshoot::worker]
fn halve(n: u64) -> Result<u64, String> {
    let _span = info_span!("halving", n).entered();
    if n % 2 == 1 {
        warn!("it is odd");
        return Err(format!("{n} cannot be halved"));
    }
    info!(half = n / 2, "done");
    Ok(n / 2)
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stdout)
        .with_max_level(Level::INFO)
        .with_ansi(false)
        .without_time()
        .init();

    let rpc = Process::new()?.rpc(halve).forward_logs(true).start()?;
    let mut n = 12;
    loop {
        info!("asking for half of {n}");
        match rpc.call(n).wait()? {
            Ok(half) => n = half,
            Err(why) => break println!("{why}"),
        }
    }
    println!("the worker ended with {}", rpc.finish()?);
    Ok(())
}
