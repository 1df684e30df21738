//! Lines of members: doubly linked through the slab, by index, so that a member changes
//! its line without an allocation, wherever in it it stands.

use super::member::Member;

/// The index that is none.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) len: u32,
}

impl Line {
    pub(super) const EMPTY: Line = Line { head: NONE, tail: NONE, len: 0 };

    pub(super) fn push_front(&mut self, members: &mut [Member], index: u32) {
        let member = &mut members[index as usize];
        member.prev = NONE;
        member.next = self.head;
        match self.head {
            NONE => self.tail = index,
            head => members[head as usize].prev = index,
        }
        self.head = index;
        self.len += 1;
    }

    pub(super) fn push_back(&mut self, members: &mut [Member], index: u32) {
        let member = &mut members[index as usize];
        member.prev = self.tail;
        member.next = NONE;
        match self.tail {
            NONE => self.head = index,
            tail => members[tail as usize].next = index,
        }
        self.tail = index;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, members: &mut [Member], index: u32) {
        let Member { prev, next, .. } = members[index as usize];
        match prev {
            NONE => self.head = next,
            prev => members[prev as usize].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => members[next as usize].prev = prev,
        }
        self.len -= 1;
    }
}
