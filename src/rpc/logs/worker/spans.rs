//! What there is to tell of: callsites and spans, and which of them the parent knows.

use std::collections::HashMap;

use tracing::Metadata;
use tracing::callsite::Identifier;

#[derive(Default)]
pub(super) struct State {
    /// Numbers of the callsites that have been told, and those that cannot be.
    pub(super) sites: HashMap<Identifier, Option<u32>>,
    pub(super) told_sites: u32,
    pub(super) spans: HashMap<u64, Open>,
    pub(super) told_spans: usize,
    pub(super) last_span: u64,
}

pub(super) struct Open {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) handles: usize,
    /// Whether the parent knows it.
    pub(super) told: bool,
    /// It is kept open by this one.
    pub(super) within: Option<u64>,
}

impl State {
    /// The span itself, or the innermost around it, that the parent knows.
    pub(super) fn told(&self, mut span: Option<u64>) -> Option<u64> {
        while let Some(id) = span {
            let open = self.spans.get(&id)?;
            if open.told {
                return Some(id);
            }
            span = open.within;
        }
        None
    }

    /// Drops one handle; the spans that are over by that, and the parent knows.
    pub(super) fn let_go(&mut self, id: u64) -> Vec<u64> {
        let (mut closed, mut next) = (Vec::new(), Some(id));
        while let Some(id) = next
            && let Some(open) = self.spans.get_mut(&id)
        {
            open.handles -= 1;
            if open.handles > 0 {
                break;
            }
            next = open.within;
            if open.told {
                self.told_spans -= 1;
                closed.push(id);
            }
            self.spans.remove(&id);
        }
        closed
    }

    pub(super) fn is_told(&self, id: u64) -> bool {
        self.spans.get(&id).is_some_and(|s| s.told)
    }
}
