//! Workers that are `async fn`: calls as tasks of one thread, on a runtime with timers
//! and the network.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use offshoot::{Context, Process, RunArgs};
use offshoot_tests::hear::{Gate, Log, pass};
use offshoot_tests::{DEADLINE, within};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

offshoot::early!();

fn held(queued: RunArgs) {
    pass(&queued.fds[0]);
}

fn new_held() -> (Gate, Process) {
    let (gate, passer) = Gate::new();
    (gate, Process::new().unwrap().send_fd(passer.into_owned().unwrap()))
}

/// As in the seed, with shorter steps.
#[offshoot::worker(init = held)]
async fn count_up(_state: Rc<()>, cx: Context<String>, of: u32) {
    cx.event(&format!("starting to count up to {of}"));
    for n in 1..=of {
        tokio::time::sleep(Duration::from_millis(5)).await;
        cx.event(&format!("count {n} of {of}"));
    }
}

#[test]
fn example_2_of_the_seed() {
    within(DEADLINE, || {
        let (gate, process) = new_held();
        let log = Log::default();
        let said = log.clone();
        let rpc = process.rpc(count_up).on_event(move |line| said.note(line)).start().unwrap();
        let mut calls: Vec<_> = [3, 2, 1].into_iter().map(|n| (n, rpc.call(n))).collect();
        for (n, call) in &mut calls {
            log.hear(call, format!("job {n} finished"));
        }
        drop(gate);
        rpc.finish().unwrap();
        let lines = log.lines();
        assert_eq!(lines[..3], [3, 2, 1].map(|n| format!("starting to count up to {n}")));
        let finished: Vec<_> = lines.iter().filter(|l| l.ends_with("finished")).collect();
        assert_eq!(finished, ["job 1 finished", "job 2 finished", "job 3 finished"]);
        for of in 1..=3 {
            let of_this = format!("of {of}");
            let own: Vec<_> = lines.iter().filter(|l| l.ends_with(&of_this)).cloned().collect();
            assert_eq!(own, (1..=of).map(|n| format!("count {n} of {of}")).collect::<Vec<_>>());
            let at = |what: &str| lines.iter().position(|l| l == what).unwrap();
            let last = at(&format!("count {of} of {of}"));
            assert!(last < at(&format!("job {of} finished")), "{lines:?}");
        }
        assert_eq!(lines.len(), 12);
    });
}

/// Calls that wait for a number, and those numbers that have come.
#[derive(Default)]
struct Board {
    said: RefCell<Vec<u32>>,
    changed: Notify,
    open: Cell<usize>,
    most: Cell<usize>,
}

struct Open(Rc<Board>);

impl Open {
    fn new(board: &Rc<Board>) -> Open {
        board.open.set(board.open.get() + 1);
        board.most.set(board.most.get().max(board.open.get()));
        Open(Rc::clone(board))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Waits until `number` has been said, or says it (`say`). How many have been open at once.
#[offshoot::worker(init = Board::default)]
async fn meet(board: Rc<Board>, cx: Context<u32>, say: bool, number: u32) -> usize {
    let _open = Open::new(&board);
    cx.event(&number);
    if say {
        board.said.borrow_mut().push(number);
        board.changed.notify_waiters();
    }
    while !board.said.borrow().contains(&number) {
        board.changed.notified().await;
    }
    board.most.get()
}

#[test]
fn replies_come_as_they_are_made() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(meet).start().unwrap();
        let calls: Vec<_> = (0..1000).map(|n| (n, rpc.call((false, n)))).collect();
        for (n, call) in calls.into_iter().rev() {
            assert!(rpc.call((true, n)).wait().unwrap() >= 1000, "they are open at once");
            call.wait().unwrap();
        }
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn as_many_run_as_may_and_no_more() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(meet).max_concurrent(3).start().unwrap();
        let started = rpc.events();
        let open: Vec<_> = (0..2).map(|n| rpc.call((false, n))).collect();
        let mut calls: Vec<_> = (2..100).map(|n| rpc.call((true, n))).collect();
        calls.extend((0..2).map(|n| rpc.call((true, n))));
        let most = calls.pop().unwrap().wait().unwrap();
        assert_eq!(most, 3);
        for call in open.into_iter().chain(calls) {
            assert!(call.wait().unwrap() <= 3);
        }
        rpc.finish().unwrap();
        assert!(started.iter().eq((0..100).chain(0..2)), "in the order of the calls");
    });
}

fn bind() -> std::io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    // It needs the runtime: so there is one already.
    UdpSocket::from_std(socket)
}

#[offshoot::worker(init = bind)]
async fn through_the_network(socket: Rc<UdpSocket>, text: String) -> Result<String, String> {
    round_trip(&socket, text).await.map_err(|e| e.to_string())
}

async fn round_trip(receiver: &UdpSocket, text: String) -> std::io::Result<String> {
    let address = receiver.local_addr()?;
    let sender = tokio::task::spawn_local(async move {
        UdpSocket::bind(("127.0.0.1", 0)).await?.send_to(text.as_bytes(), address).await
    });
    let mut received = [0; 100];
    let length = receiver.recv(&mut received).await?;
    sender.await??;
    Ok(String::from_utf8_lossy(&received[..length]).into_owned())
}

#[test]
fn the_network_is_there() {
    within(DEADLINE, || {
        let call = offshoot::spawn(through_the_network, "round the house".to_owned()).unwrap();
        assert_eq!(call.wait().unwrap().unwrap(), "round the house");
    });
}

#[offshoot::worker]
async fn doubled(n: u64) -> u64 {
    2 * n
}

#[offshoot::worker]
async fn through_another(n: u64) -> Result<u64, String> {
    let call = offshoot::spawn(doubled, n).map_err(|e| e.to_string())?;
    call.await.map_err(|e| e.to_string())
}

#[test]
fn a_worker_awaits_a_worker_of_its_own() {
    within(DEADLINE, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let rpc = Process::new().unwrap().rpc(through_another).start().unwrap();
            let calls: Vec<_> = (0..5).map(|n| rpc.call(n)).collect();
            for (n, call) in (0..).zip(calls) {
                assert_eq!(call.await.unwrap(), Ok(2 * n));
            }
        });
    });
}
