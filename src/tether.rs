//! What keeps a template from being retired.

use std::sync::Arc;

use crate::link::Link;

/// Held by the handle of a template and by all that are still to be forked from it;
/// when the last is gone, the template is retired. (Its children hold the link only.)
pub(crate) struct Tether {
    link: Arc<Link>,
}

impl Tether {
    pub(crate) fn new(link: Arc<Link>) -> Arc<Tether> {
        Arc::new(Tether { link })
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        self.link.home.retire(Arc::clone(&self.link));
    }
}
