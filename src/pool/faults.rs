//! What a test does harm to: the processes of a pool.

use std::sync::{Arc, Weak};

use super::core::Core;
use super::handle::Pool;
use crate::process::Process;
use crate::rpc::pooled::Conn;

/// The processes of a pool, whatever its types, without keeping it.
pub(crate) struct Inmates(Weak<Core>);

impl Inmates {
    /// What workers are forked from now; nothing if the pool is gone.
    pub(crate) fn template(&self) -> Option<Arc<Process>> {
        Some(Arc::clone(&self.0.upgrade()?.lock().template))
    }

    /// Workers that have been made and have not ended, as far as that is known.
    pub(crate) fn workers(&self) -> Vec<Arc<Conn>> {
        let Some(core) = self.0.upgrade() else { return Vec::new() };
        let state = core.lock();
        state.members.iter().flatten().filter_map(|m| m.conn().map(Arc::clone)).collect()
    }
}

impl<A, R, E> Pool<A, R, E> {
    pub(crate) fn inmates(&self) -> Inmates {
        Inmates(Arc::downgrade(&self.core))
    }
}
