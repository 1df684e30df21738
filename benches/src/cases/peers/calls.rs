//! Calls, by `ipc-channel` and `tarpc`.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use offshoot::{Process, Start};
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tokio::runtime::{Builder, Runtime};

use crate::Result;
use crate::case::{Against, Case, Program, Work};
use crate::cases::calls::{MANY, ONE};

const CALLS: u32 = 2000;
const WINDOW: usize = 1000;

pub(crate) fn cases() -> Vec<Case> {
    let case = |group, name, prepare| Case {
        group,
        name,
        program: Program::Calls,
        prepare,
        against: Against::Nothing,
        goal: "",
    };
    vec![
        case(ONE, "ipc-channel", ipc_one),
        case(ONE, "tarpc, on a tokio UnixStream", || tarpc(1, 100)),
        case(MANY, "ipc-channel, 16 bytes", ipc_many),
        case(MANY, "tarpc, 16 bytes", || tarpc(WINDOW, CALLS)),
    ]
}

type Ends = (IpcSender<[u8; 16]>, IpcReceiver<[u8; 16]>);

#[offshoot::entry]
fn ipc_echo(start: Start) -> Result<()> {
    let name = String::from_utf8(start.args[0].clone())?;
    let (replies, replies_end) = ipc::channel()?;
    let (requests_end, requests) = ipc::channel::<[u8; 16]>()?;
    IpcSender::<Ends>::connect(name)?.send((requests_end, replies_end))?;
    while let Ok(request) = requests.recv() {
        replies.send(request)?;
    }
    Ok(())
}

/// The two ends of a fresh pair of channels, to a process that echoes.
fn ipc_pair() -> Result<(offshoot::Child, Ends)> {
    let (server, name) = ipc::IpcOneShotServer::<Ends>::new()?;
    let child = Process::new()?.send_arg(name).run(ipc_echo)?;
    let (_, ends) = server.accept()?;
    Ok((child, ends))
}

fn ipc_one() -> Result<Work> {
    let (child, (requests, replies)) = ipc_pair()?;
    Ok(Box::new(move || {
        let _alive = &child;
        let start = Instant::now();
        for _ in 0..100 {
            requests.send([7; 16])?;
            replies.recv()?;
        }
        Ok(start.elapsed() / 100)
    }))
}

/// Sent by one thread, received by another: with a thousand unread both sides would
/// wait for ever.
fn ipc_many() -> Result<Work> {
    let (child, (requests, replies)) = ipc_pair()?;
    Ok(Box::new(move || {
        let _alive = &child;
        let requests = requests.clone();
        let start = Instant::now();
        let sender =
            std::thread::spawn(move || (0..CALLS).try_for_each(|_| requests.send([7; 16])));
        for _ in 0..CALLS {
            replies.recv()?;
        }
        sender.join().map_err(|_| "the sender panicked")??;
        Ok(start.elapsed() / CALLS)
    }))
}

#[tarpc::service]
trait Echo {
    async fn echo(bytes: [u8; 16]) -> [u8; 16];
}

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: tarpc::context::Context, bytes: [u8; 16]) -> [u8; 16] {
        bytes
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn transport<Item, Sink>(
    stream: std::os::unix::net::UnixStream,
) -> Result<
    tarpc::serde_transport::Transport<tokio::net::UnixStream, Item, Sink, Bincode<Item, Sink>>,
>
where
    Item: serde::de::DeserializeOwned,
    Sink: serde::Serialize,
{
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let framed = tokio_util::codec::LengthDelimitedCodec::builder().new_framed(stream);
    Ok(tarpc::serde_transport::new(framed, Bincode::default()))
}

#[offshoot::entry]
fn tarpc_echo(start: Start) -> Result<()> {
    runtime()?.block_on(async {
        let server = BaseChannel::with_defaults(transport(start.stream)?);
        server.execute(Server.serve()).for_each_concurrent(None, |answer| answer).await;
        Ok(())
    })
}

fn tarpc(window: usize, calls: u32) -> Result<Work> {
    let stream = Process::new()?.run(tarpc_echo)?.into_stream();
    let runtime = runtime()?;
    let client = runtime.block_on(async {
        let mut config = tarpc::client::Config::default();
        config.max_in_flight_requests = window;
        config.pending_request_buffer = window;
        Ok::<_, crate::Error>(EchoClient::new(config, transport(stream)?).spawn())
    })?;
    Ok(Box::new(move || {
        let start = Instant::now();
        runtime.block_on(async {
            let mut open = FuturesUnordered::new();
            for _ in 0..calls {
                if open.len() == window {
                    open.next().await.ok_or("there are some")??;
                }
                let client = client.clone();
                open.push(async move {
                    let mut context = tarpc::context::current();
                    context.deadline = Instant::now() + Duration::from_secs(60);
                    client.echo(context, [7; 16]).await
                });
            }
            while let Some(answer) = open.next().await {
                answer?;
            }
            Ok::<(), crate::Error>(())
        })?;
        Ok(start.elapsed() / calls)
    }))
}
