//! The workers: a slab, and through it one line for each load.

use std::time::Instant;

use super::State;
use super::line::{Line, NONE};
use super::member::{Member, Phase, WorkerId};

/// The lines: idle ones, with the most recently used in front; starting ones that have no
/// job yet, the oldest in front, since it will be ready first; then one for each load from
/// 1 on, the most recently used in front. The last one holds all that are full.
const IDLE: usize = 0;
const FRESH: usize = 1;

pub(super) struct Roster {
    members: Vec<Member>,
    /// Vacant places, linked by `next`.
    vacant: u32,
    lines: Vec<Line>,
    /// The first line that is not empty.
    least: usize,
    /// Jobs that one worker is given at once.
    limit: u32,
    live: usize,
    takers: usize,
    ready: usize,
    away: usize,
}

impl Roster {
    pub(super) fn new(load: usize) -> Roster {
        Roster {
            members: Vec::new(),
            vacant: NONE,
            lines: vec![Line::EMPTY; 3],
            least: 3,
            limit: limit(load),
            live: 0,
            takers: 0,
            ready: 0,
            away: 0,
        }
    }

    /// A starting worker, which takes jobs.
    pub(super) fn add(&mut self, now: Instant, left: u64) -> WorkerId {
        let new = Member::starting(now, left);
        let index = match self.vacant {
            NONE => {
                let index = u32::try_from(self.members.len()).expect("fewer than 2^32 workers");
                self.members.push(new);
                index
            }
            index => {
                let place = &mut self.members[index as usize];
                self.vacant = place.next;
                *place = Member { generation: place.generation, ..new };
                index
            }
        };
        self.live += 1;
        self.takers += 1;
        self.enter(index, false);
        self.id(index)
    }

    /// Where this worker is in the slab, unless it is gone.
    pub(super) fn find(&self, id: WorkerId) -> Option<u32> {
        let member = self.members.get(id.index as usize)?;
        (member.generation == id.generation && member.phase != Phase::Vacant).then_some(id.index)
    }

    pub(super) fn id(&self, index: u32) -> WorkerId {
        WorkerId { index, generation: self.get(index).generation }
    }

    pub(super) fn get(&self, index: u32) -> &Member {
        &self.members[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Member {
        &mut self.members[index as usize]
    }

    /// The one that the next job goes to.
    pub(super) fn first(&self) -> Option<u32> {
        self.has_room().then(|| self.lines[self.least].head)
    }

    pub(super) fn has_room(&self) -> bool {
        self.least < self.lines.len() && self.least < FRESH + self.limit as usize
    }

    /// One more job.
    pub(super) fn load(&mut self, index: u32) {
        self.exit(index);
        self.get_mut(index).load += 1;
        self.enter(index, true);
        self.seek();
    }

    /// One job less.
    pub(super) fn unload(&mut self, index: u32, now: Instant) {
        let taking = self.get(index).phase == Phase::Taking;
        if taking {
            self.exit(index);
        }
        let member = self.get_mut(index);
        member.load -= 1;
        member.since = now;
        if taking {
            self.enter(index, true);
            self.seek();
        }
    }

    /// It has got ready.
    pub(super) fn ready(&mut self, index: u32, now: Instant) {
        let taking = self.get(index).phase == Phase::Taking;
        let idle = taking && self.get(index).load == 0;
        if idle {
            self.exit(index);
        }
        let member = self.get_mut(index);
        member.ready = true;
        member.since = now;
        if taking {
            self.ready += 1;
        }
        if idle {
            self.enter(index, true);
            self.seek();
        }
    }

    /// It takes no more jobs.
    pub(super) fn leave(&mut self, index: u32, phase: Phase) {
        if self.get(index).phase == Phase::Taking {
            self.exit(index);
            self.seek();
            self.takers -= 1;
            self.ready -= usize::from(self.get(index).ready);
        }
        self.get_mut(index).phase = phase;
    }

    /// From now on it counts for `max_recycling`.
    pub(super) fn count_away(&mut self, index: u32) {
        let member = &mut self.members[index as usize];
        self.away += usize::from(!member.away);
        member.away = true;
    }

    /// It is gone; its place may be another's.
    pub(super) fn remove(&mut self, index: u32) {
        self.leave(index, Phase::Vacant);
        let vacant = self.vacant;
        let member = self.get_mut(index);
        member.generation = member.generation.wrapping_add(1);
        member.next = vacant;
        let away = member.away;
        self.vacant = index;
        self.live -= 1;
        self.away -= usize::from(away);
    }

    /// The one that can best be done without: with the fewest jobs, and the least
    /// recently used of those.
    pub(super) fn last(&self) -> Option<u32> {
        Some(self.lines.get(self.least)?.tail)
    }

    /// The least recently used of the idle ones.
    pub(super) fn longest_idle(&self) -> Option<u32> {
        match self.lines[IDLE].tail {
            NONE => None,
            index => Some(index),
        }
    }

    /// Starting ones without a job: the last that was started.
    pub(super) fn last_fresh(&self) -> Option<u32> {
        match self.lines[FRESH].tail {
            NONE => None,
            index => Some(index),
        }
    }

    pub(super) fn idle(&self) -> usize {
        self.lines[IDLE].len as usize
    }

    pub(super) fn fresh(&self) -> usize {
        self.lines[FRESH].len as usize
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn takers(&self) -> usize {
        self.takers
    }

    /// Those of them that are ready.
    pub(super) fn ready_takers(&self) -> usize {
        self.ready
    }

    pub(super) fn away(&self) -> usize {
        self.away
    }

    /// All that take jobs, in no order that means anything.
    pub(super) fn taking(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.members).filter(|(_, m)| m.phase == Phase::Taking).map(|(i, _)| i)
    }

    pub(super) fn states(&self) -> impl Iterator<Item = State> {
        self.members.iter().filter_map(Member::state)
    }

    /// Another number of jobs at once. Between those whose line this changes, who was
    /// used more recently is forgotten.
    pub(super) fn set_load(&mut self, load: usize) {
        if limit(load) == self.limit {
            return;
        }
        let full = self.lines.split_off(self.lines.len().min(FRESH + 1));
        self.least = 0;
        self.limit = limit(load);
        self.lines.push(Line::EMPTY);
        for line in full {
            let mut index = line.tail;
            while index != NONE {
                let before = self.get(index).prev;
                self.enter(index, true);
                index = before;
            }
        }
        self.seek();
    }

    fn enter(&mut self, index: u32, in_front: bool) {
        let member = self.get(index);
        let at = self.line_of(member);
        // A fresh one stays behind those that were started before it.
        let in_front = in_front && at != FRESH;
        if at >= self.lines.len() {
            self.lines.resize(at + 1, Line::EMPTY);
        }
        if in_front {
            self.lines[at].push_front(&mut self.members, index);
        } else {
            self.lines[at].push_back(&mut self.members, index);
        }
        self.least = self.least.min(at);
    }

    fn exit(&mut self, index: u32) {
        let at = self.line_of(self.get(index));
        self.lines[at].remove(&mut self.members, index);
    }

    /// After a worker has left its line, and stands in its next if there is one: a job
    /// moves it by one line, so only workers that leave can make this look further.
    fn seek(&mut self) {
        while self.lines.get(self.least).is_some_and(|line| line.len == 0) {
            self.least += 1;
        }
    }

    fn line_of(&self, member: &Member) -> usize {
        match member.load {
            0 if member.ready => IDLE,
            0 => FRESH,
            load => FRESH + load.min(self.limit) as usize,
        }
    }
}

/// More than anybody gives one worker at once, and small enough to count with.
fn limit(load: usize) -> u32 {
    load.clamp(1, 1 << 30) as u32
}
