//! Calls: one at a time, and many on their way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use offshoot::{Call, Octets, Process, Rpc};

use super::raw;
use crate::Result;
use crate::case::{Against, Case, Program, Work};
use crate::one_cpu::OneCpu;

pub(super) const ONE: &str = "calls, 16 bytes echoed, one at a time";
pub(super) const MANY: &str = "calls echoed, 1,000 on their way (64 of 64 KiB)";
/// Bytes of a large message.
pub(crate) const LARGE: usize = 16 << 20;
const SOCKET: &str = "raw stream socket, blocking";
const SOCKET_ONE: &str = "raw stream socket, blocking, both on one CPU";
const SPINNING: &str = "raw stream socket, 20 us of looking first";
const RAW_64K: &str = "raw stream socket, 64 KiB echoed";
const RAW_LARGE: &str = "raw stream socket, 16 MiB one way";
/// Calls for each measurement.
const CALLS: u32 = 2000;
/// Calls on their way.
const WINDOW: usize = 1000;

pub(crate) fn cases() -> Vec<Case> {
    let case = |group, name, prepare, against, goal| Case {
        group,
        name,
        program: Program::Calls,
        prepare,
        against,
        goal,
    };
    let large = "calls of 16 MiB, one way";
    vec![
        case(ONE, SOCKET, raw::blocking, Against::Nothing, ""),
        case(ONE, "call, typed, spin off", sleeping, Against::Rate(SOCKET), "at least 0.85"),
        case(ONE, SOCKET_ONE, raw::blocking_on_one_cpu, Against::Nothing, ""),
        case(
            ONE,
            "call, typed, spin off, both on one CPU",
            on_one_cpu,
            Against::Rate(SOCKET_ONE),
            "at least 0.85",
        ),
        case(ONE, SPINNING, raw::spinning, Against::Nothing, ""),
        case(ONE, "call, typed", spinning, Against::Rate(SPINNING), "at least 150 to 289"),
        case(MANY, "call, typed, 16 bytes", pipelined, Against::Nothing, "1,500,000/s"),
        case(MANY, "call, 1 KiB", || octets(1024, WINDOW), Against::Nothing, "700,000/s"),
        case(MANY, RAW_64K, raw::stream_64k, Against::Nothing, ""),
        case(MANY, "call, 64 KiB", || octets(64 << 10, 64), Against::Rate(RAW_64K), "35,000/s"),
        case(large, RAW_LARGE, raw::large, Against::Nothing, ""),
        case(large, "call, 16 MiB", one_way, Against::Rate(RAW_LARGE), "3 GB/s: 179/s"),
    ]
}

#[offshoot::worker]
fn echo(bytes: [u8; 16]) -> [u8; 16] {
    bytes
}

#[offshoot::worker(codec = Octets)]
fn echo_bytes(bytes: Bytes) -> Bytes {
    bytes
}

#[offshoot::worker(codec = Octets)]
fn length(bytes: Bytes) -> String {
    bytes.len().to_string()
}

fn one_at_a_time(spin: bool) -> Result<Work> {
    let rpc = Process::new()?.rpc(echo).spin(spin).start()?;
    Ok(Box::new(move || calls(&rpc)))
}

fn calls(rpc: &Rpc<[u8; 16], [u8; 16]>) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..100 {
        rpc.call([7; 16]).wait()?;
    }
    Ok(start.elapsed() / 100)
}

/// On the CPU that its caller is on, too.
#[offshoot::worker(init = OneCpu::keep)]
fn echo_on_one_cpu(_kept: &mut OneCpu, bytes: [u8; 16]) -> [u8; 16] {
    bytes
}

fn on_one_cpu() -> Result<Work> {
    let rpc = Process::new()?.rpc(echo_on_one_cpu).spin(false).start()?;
    Ok(Box::new(move || {
        let _here = OneCpu::keep()?;
        calls(&rpc)
    }))
}

fn sleeping() -> Result<Work> {
    one_at_a_time(false)
}

fn spinning() -> Result<Work> {
    one_at_a_time(true)
}

/// Keeps `window` calls on their way, waiting for the oldest.
fn in_flight<A: Clone + 'static, R: Send + 'static>(
    rpc: &Rpc<A, R>,
    args: &A,
    window: usize,
    calls: u32,
) -> Result<Duration> {
    let mut open: VecDeque<Call<R>> = VecDeque::with_capacity(window);
    let start = Instant::now();
    for _ in 0..calls {
        if open.len() == window
            && let Some(oldest) = open.pop_front()
        {
            oldest.wait()?;
        }
        open.push_back(rpc.call(args.clone()));
    }
    for call in open {
        call.wait()?;
    }
    Ok(start.elapsed() / calls)
}

fn pipelined() -> Result<Work> {
    let rpc = Process::new()?.rpc(echo).start()?;
    Ok(Box::new(move || in_flight(&rpc, &[7; 16], WINDOW, 10 * CALLS)))
}

fn octets(size: usize, window: usize) -> Result<Work> {
    let rpc = Process::new()?.rpc(echo_bytes).start()?;
    let bytes = Bytes::from(vec![7; size]);
    let calls = if size > 4096 { CALLS } else { 10 * CALLS };
    Ok(Box::new(move || in_flight(&rpc, &bytes, window, calls)))
}

fn one_way() -> Result<Work> {
    let rpc = Process::new()?.rpc(length).start()?;
    let bytes = Bytes::from(vec![7; LARGE]);
    Ok(Box::new(move || in_flight(&rpc, &bytes, 2, 4)))
}
