//! One worker of a pool.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::core::Core;
use super::errand::Job;
use super::scheduler::{Why, WorkerId};
use super::tail::Tail;
use crate::error::Error;
use crate::rpc::pooled::{Conn, Overseer};

pub(super) struct Member {
    /// None while it is a spare.
    id: OnceLock<WorkerId>,
    conn: OnceLock<Arc<Conn>>,
    /// Its size, as the kernel tells; a descriptor stands for this process and no other.
    statm: OnceLock<Option<File>>,
    /// When its last job was over, in nanoseconds since the pool was made.
    free_since: AtomicU64,
    /// Its template was gone when it was to be forked, and has been made again since.
    second_try: OnceLock<()>,
    /// It is to end, as soon as its process is there.
    to_finish: OnceLock<()>,
    /// Its init function has returned.
    ready: OnceLock<()>,
    /// That it was not before it died has been noted.
    blamed: OnceLock<()>,
    /// It was a spare when it ended.
    gone: OnceLock<()>,
    /// What it writes to standard error, if that is kept.
    tail: OnceLock<Arc<Tail>>,
}

impl Member {
    pub(super) fn new(id: Option<WorkerId>) -> Arc<Member> {
        let member = Member {
            id: OnceLock::new(),
            conn: OnceLock::new(),
            statm: OnceLock::new(),
            free_since: AtomicU64::new(0),
            second_try: OnceLock::new(),
            to_finish: OnceLock::new(),
            ready: OnceLock::new(),
            blamed: OnceLock::new(),
            gone: OnceLock::new(),
            tail: OnceLock::new(),
        };
        if let Some(id) = id {
            member.becomes(id);
        }
        Arc::new(member)
    }

    pub(super) fn id(&self) -> Option<WorkerId> {
        self.id.get().copied()
    }

    /// A spare is made a worker.
    pub(super) fn becomes(&self, id: WorkerId) {
        self.id.set(id).expect("a spare is used once");
    }

    /// Its connection, once there is one.
    pub(super) fn conn(&self) -> Option<&Arc<Conn>> {
        self.conn.get()
    }

    pub(super) fn connected(&self, conn: Arc<Conn>) {
        assert!(self.conn.set(conn).is_ok(), "a process is made once");
    }

    /// No more jobs: it may end.
    pub(super) fn finish(&self) {
        let _ = self.to_finish.set(());
        if let Some(conn) = self.conn() {
            conn.finish();
        }
    }

    pub(super) fn listens_to(&self, tail: Arc<Tail>) {
        assert!(self.tail.set(tail).is_ok(), "a process is made once");
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.get().is_some()
    }

    /// True once.
    pub(super) fn is_to_be_blamed(&self) -> bool {
        self.blamed.set(()).is_ok()
    }

    pub(super) fn is_gone_now(&self) {
        let _ = self.gone.set(());
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.get().is_some()
    }

    pub(super) fn is_to_finish(&self) -> bool {
        self.to_finish.get().is_some()
    }

    pub(super) fn may_try_again(&self) -> bool {
        self.second_try.set(()).is_ok()
    }

    /// Its process id; 0 if that cannot be known any more.
    pub(super) fn pid(&self) -> u32 {
        self.conn().and_then(|conn| conn.child.id().ok()).unwrap_or(0)
    }

    /// Bytes that it has in memory now.
    pub(super) fn resident(&self) -> Option<u64> {
        let open = || File::open(format!("/proc/{}/statm", self.conn()?.child.id().ok()?)).ok();
        let statm = self.statm.get_or_init(open).as_ref()?;
        let mut text = [0; 128];
        let length = statm.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
        Some(pages * page_size())
    }

    /// A job of a synchronous worker, sent then, is over now: how long it ran.
    pub(super) fn ran(&self, begun: Instant, sent: Instant, now: Instant) -> Duration {
        let nanos = now.saturating_duration_since(begun).as_nanos() as u64;
        let free = begun + Duration::from_nanos(self.free_since.swap(nanos, Ordering::Relaxed));
        now.saturating_duration_since(sent.max(free))
    }
}

fn page_size() -> u64 {
    static SIZE: OnceLock<u64> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
        size.ok().flatten().and_then(|s| u64::try_from(s).ok()).unwrap_or(4096)
    })
}

/// A worker's line to its pool.
pub(super) struct Overseen {
    pub(super) core: Weak<Core>,
    pub(super) member: Weak<Member>,
}

impl Overseen {
    fn tell(&self, tell: impl FnOnce(&Core, &Arc<Member>)) {
        if let (Some(core), Some(member)) = (self.core.upgrade(), self.member.upgrade()) {
            tell(&core, &member);
        }
    }
}

impl Overseer for Overseen {
    fn owner(&self) -> usize {
        self.core.as_ptr().addr()
    }

    fn ready(&self) {
        self.tell(|core, member| {
            let _ = member.ready.set(());
            core.is_ready(member);
        });
    }

    fn retires(&self) {
        self.tell(|core, member| {
            core.with_worker(member, |s, id, now| s.retire(id, now, Why::Asked));
        });
    }

    fn let_go(&self) {
        self.tell(|core, member| core.let_go(member));
    }

    fn is_attended(&self) -> bool {
        self.core.upgrade().is_some_and(|core| core.attendance.is_attended())
    }

    fn last_words(&self) -> Option<Arc<str>> {
        let member = self.member.upgrade()?;
        let tail = member.tail.get()?;
        tail.read_rest();
        Some(tail.text()).filter(|text| !text.is_empty()).map(Arc::from)
    }

    fn gone(&self, why: Option<Error>) {
        self.tell(|core, member| core.gone(member, why));
    }
}

/// Jobs for a worker whose process is being made.
pub(super) type Backlog = Vec<Arc<dyn Job>>;
