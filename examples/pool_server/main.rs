//! An HTTP service in which each request is a call on a pool of worker processes: what
//! clients send is decoded where a crash, a leak or an endless loop costs a process.
//!
//! ```text
//! cargo run --release --features testing --example pool_server
//! cargo run --release --features testing --example pool_server -- --listen 127.0.0.1:8080
//! ```
//! Every request is answered, whatever becomes of the workers: with a thumbnail; with 422,
//! where the picture is to blame; with 503, where as many requests wait as may wait, or
//! two workers have died over it; or with 504, where it took too long. At SIGTERM or Ctrl-C
//! it answers what it has been asked, and ends. The feature is there for `--chaos` alone.

mod demo;
mod figures;
mod options;
mod service;
mod worker;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use offshoot::testing::Chaos;
use offshoot::{Pool, Resource};
use tokio::net::TcpListener;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::options::Options;
use crate::service::Thumbnails;

/// How long clients have to take their answers, once it is to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the demonstration kills a worker.
const OFTEN: Duration = Duration::from_millis(20);

fn pool(options: &Options) -> Result<Thumbnails, offshoot::Error> {
    let memory = 512 << 20;
    Pool::builder(worker::thumbnail)
        .max(options.jobs)
        // None waits behind a large picture while another worker is idle.
        .load(1)
        .idle(1)
        .queue_limit(options.queue)
        .timeout(options.timeout)
        .rlimit(Resource::AddressSpace, memory, memory)
        // No file grows, and so not a log either: what a worker says in the end is kept here.
        .rlimit(Resource::FileSize, 0, 0)
        .capture_stderr(true)
        .rlimit(Resource::Core, 0, 0)
        .max_memory(memory / 4)
        .max_jobs(10_000)
        .jitter(0.5)
        .build()
}

/// Serves until the other end of `ended` is dropped, and then whoever is there already.
async fn serve(
    listener: TcpListener,
    pool: Arc<Thumbnails>,
    mut ended: watch::Receiver<()>,
) -> io::Result<()> {
    let mut told = ended.clone();
    let end = async move { drop(told.changed().await) };
    let server = axum::serve(listener, service::service(pool)).with_graceful_shutdown(end);
    select! {
        served = server => served,
        () = async { drop(ended.changed().await); sleep(PATIENCE).await } => {
            println!("a client has not taken its answer");
            Ok(())
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    // From the beginning, so that none is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let pool = Arc::new(pool(&options)?);
    let listen = options.listen.unwrap_or(([127, 0, 0, 1], 0).into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("serving on http://{address}/ with up to {} workers", options.jobs);
    let (end, ended) = watch::channel(());
    let server = tokio::spawn(serve(listener, Arc::clone(&pool), ended));

    let every = options.chaos.or(options.listen.is_none().then_some(OFTEN));
    let chaos = every.map(|every| Chaos::new(&pool).every(every).start()).transpose()?;
    if options.listen.is_some() {
        select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    } else {
        let answers = demo::requests(address).await?;
        println!("while workers were killed, {answers}");
    }
    if let Some(chaos) = chaos {
        println!("{} workers were killed", chaos.stop().workers);
    }
    if options.listen.is_none() {
        println!("afterwards, {}", demo::requests(address).await?);
    }

    drop(end);
    server.await??;
    let stats = pool.finish_async().await?;
    let (failed, again) = (stats.failed.total(), stats.retried + stats.moved);
    println!("ended: {} calls done, {failed} failed, {again} made again", stats.done);
    Ok(())
}

#[offshoot::main]
#[tokio::main]
async fn main() -> ExitCode {
    let done = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => run(options).await,
        Ok(None) => {
            print!("{}", options::HELP);
            Ok(())
        }
        Err(wrong) => {
            eprintln!("pool_server: {wrong}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pool_server: {error}");
            ExitCode::FAILURE
        }
    }
}
