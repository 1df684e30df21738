//! Bodies and replies of all kinds, and what becomes of them on the way.

use std::borrow::Cow;

use crate::sys::wait::Reaped;
use crate::wire::{Bytes, End, Failure, Next, Reply, STAGES, Step};

/// splitmix64.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.any() % n as u64) as usize
    }

    pub(super) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let len = self.below(most + 1);
        (0..len).map(|_| self.any() as u8).collect()
    }

    fn list(&mut self, least: usize) -> Vec<Bytes<'static>> {
        let count = least + self.below(4);
        (0..count).map(|_| self.bytes(20).into()).collect()
    }

    fn text(&mut self) -> Cow<'static, str> {
        String::from_utf8_lossy(&self.bytes(20)).into_owned().into()
    }

    fn step(&mut self) -> Step<'static> {
        let n = self.any();
        match self.below(20) {
            0 => Step::Arg(self.bytes(100).into()),
            1 => Step::Fd,
            2 => Step::Setup { name: self.text(), args: self.list(0) },
            3 => Step::Stdio((n % 3) as u8),
            4 => Step::Env { key: self.bytes(9).into(), value: self.bytes(9).into() },
            5 => Step::EnvRemove(self.bytes(9).into()),
            6 => Step::EnvClear,
            7 => Step::Directory(self.bytes(30).into()),
            8 => Step::DirectoryFd,
            9 => Step::Limit { resource: n as u32, soft: self.any(), hard: self.any() },
            10 => Step::Umask(n as u32),
            11 => Step::Nice(n as i32),
            12 => Step::Group(n as i32),
            13 => Step::Gid(n as u32),
            14 => Step::Uid(n as u32),
            15 => Step::DeathSignal(n as i32),
            16 => Step::Title(self.text()),
            17 => Step::HugePages(n.is_multiple_of(2)),
            18 => Step::Cpus(self.bytes(20).into()),
            _ => Step::Cgroup(self.bytes(30).into()),
        }
    }

    fn end(&mut self) -> End<'static> {
        match self.below(3) {
            0 => End::Serve,
            1 => End::Run(self.bytes(30).into()),
            _ => End::Exec(self.list(1)),
        }
    }

    pub(super) fn reply(&mut self) -> Reply {
        let n = self.any() as i32;
        match self.below(5) {
            0 => Reply::Ready,
            1 => {
                let stage = STAGES[self.below(STAGES.len())];
                Reply::Failed(Failure { stage, errno: n, message: self.text().into_owned() })
            }
            2 => Reply::Exited(Reaped {
                pid: n,
                status: self.any() as i32,
                user_us: self.any(),
                system_us: self.any(),
                peak_kib: self.any(),
            }),
            3 => Reply::PidIs(n),
            _ => Reply::Done(n),
        }
    }
}

/// A body, and what is in it.
pub(super) fn body(rng: &mut Rng) -> (Vec<u8>, Vec<Next<'static>>) {
    let steps: Vec<_> = (0..rng.below(8)).map(|_| rng.step()).collect();
    let end = rng.end();
    let mut bytes = Vec::new();
    steps.iter().for_each(|s| s.encode(&mut bytes));
    bytes.extend(end.encode());
    (bytes, steps.into_iter().map(Next::Step).chain([Next::End(end)]).collect())
}

/// Changes something in it.
pub(super) fn spoil(rng: &mut Rng, bytes: &mut Vec<u8>) {
    match rng.below(4) {
        0 => bytes.truncate(rng.below(bytes.len() + 1)),
        1 => bytes.extend(rng.bytes(9)),
        2 if bytes.len() >= 8 => {
            // Where a length may be: one that a careless check would let pass.
            let at = rng.below(bytes.len() - 7);
            let edges = [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 32, 1 << 40, 0];
            let n = edges[rng.below(edges.len())];
            bytes[at..at + 8].copy_from_slice(&n.to_le_bytes());
        }
        _ if bytes.is_empty() => {}
        _ => {
            let at = rng.below(bytes.len());
            bytes[at] = rng.any() as u8;
        }
    }
}
