//! A worker's subscriber: tells the parent of spans and events, in order with replies and
//! events of calls.

use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record as Recorded};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

use super::super::frame::{Frame, Kind};
use super::super::output::Output;
use super::record::{MOST_SITES, MOST_SPANS, Place, Record, Strength};
use super::values::{self, clipped};
use crate::sys::forked::Birthmark;

mod spans;

use spans::{Open, State};

/// For panics, which tell no subscriber.
static FORWARD: OnceLock<Arc<Forward>> = OnceLock::new();

struct Forward {
    output: Arc<Output>,
    max: LevelFilter,
    /// A fork that the worker makes of itself has no line to the parent.
    mark: Birthmark,
    /// Also held while a record is on its way: what one says of a span comes before that
    /// is closed by another thread.
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Busy {
    No,
    /// Values are being written: by code that may itself log, or panic.
    Writing,
    /// The state is locked.
    Sending,
}

thread_local! {
    static BUSY: Cell<Busy> = const { Cell::new(Busy::No) };
    /// Spans that this thread is in, innermost last.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Marks this thread as busy, unless it is: what is logged by logging would go on for ever.
struct Quiet(Busy);

impl Quiet {
    fn begin(busy: Busy) -> Option<Quiet> {
        let begin = |b: &Cell<Busy>| (b.get() < busy).then(|| Quiet(b.replace(busy)));
        BUSY.try_with(begin).ok()?
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = BUSY.try_with(|b| b.set(self.0));
    }
}

/// From now on what this process logs up to `most` goes to the parent, unless it has a
/// subscriber of its own; panics go there anyway.
pub(in super::super) fn begin(most: Strength, output: Arc<Output>) {
    let max = LevelFilter::from_level(Level::from(most));
    let forward =
        Arc::new(Forward { output, max, mark: Birthmark::new(), state: Mutex::default() });
    forward.push(&Record::Begin { pid: std::process::id() });
    let forward = FORWARD.get_or_init(|| forward);
    let dispatch = Dispatch::new(Arc::clone(forward));
    if tracing::dispatcher::set_global_default(dispatch.clone()).is_err() {
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::warn!(
                target: "offshoot",
                "the worker has a subscriber of its own, so what it logs does not come here"
            );
        });
    }
}

/// Tells of a panic, if it is to be told.
pub(in super::super) fn panicked(info: &PanicHookInfo<'_>) {
    let Some(forward) = FORWARD.get().filter(|f| f.mark.is_here()) else { return };
    // One while values are written is told too, but none within this module.
    let Some(_quiet) = Quiet::begin(Busy::Sending) else { return };
    let (file, line, column) =
        info.location().map_or(("", 0, 0), |l| (l.file(), l.line(), l.column()));
    let message = clipped(info.payload_as_str().unwrap_or("(no text)"));
    let state = forward.lock();
    let parent = state.told(current());
    let file = clipped(file);
    forward.push(&Record::Panic { message, file, line, column, parent });
    // The process may be about to end by it.
    forward.output.flush();
}

fn current() -> Option<u64> {
    INSIDE.try_with(|inside| inside.borrow().last().copied()).ok()?
}

impl Forward {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// With the state locked.
    fn push(&self, record: &Record) {
        self.output.push(Frame::plain(Kind::Log, 0, record));
    }

    /// The number of a callsite, which the parent knows from now on; none, if there are
    /// too many.
    fn site(&self, state: &mut State, metadata: &'static Metadata<'static>) -> Option<u32> {
        let State { sites, told_sites, .. } = state;
        *sites.entry(metadata.callsite()).or_insert_with(|| {
            let place = Place {
                is_span: metadata.is_span(),
                level: Strength::from(*metadata.level()),
                name: metadata.name().to_owned(),
                target: metadata.target().to_owned(),
                module: metadata.module_path().map(str::to_owned),
                file: metadata.file().map(str::to_owned),
                line: metadata.line(),
                fields: metadata.fields().iter().map(|f| f.name().to_owned()).collect(),
            };
            if *told_sites as usize >= MOST_SITES || !place.fits() {
                return None;
            }
            self.push(&Record::Site(place));
            *told_sites += 1;
            Some(*told_sites - 1)
        })
    }

    /// The span that something new is in.
    fn parent(explicit: Option<&Id>, is_root: bool) -> Option<u64> {
        match explicit {
            Some(id) => Some(id.into_u64()),
            None if is_root => None,
            None => current(),
        }
    }

    /// Tells of a span that the parent knows.
    fn about(&self, id: &Id, record: impl FnOnce(&State, u64) -> Option<Record>) {
        if !self.mark.is_here() {
            return;
        }
        let Some(_quiet) = Quiet::begin(Busy::Sending) else { return };
        let state = self.lock();
        let id = id.into_u64();
        if state.is_told(id)
            && let Some(record) = record(&state, id)
        {
            self.push(&record);
        }
    }
}

impl Subscriber for Forward {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        if !self.mark.is_here() {
            return Id::from_u64(u64::MAX);
        }
        // One that is made by the writing of values is not told of.
        let writing = Quiet::begin(Busy::Writing);
        let values = writing.as_ref().map(|_| values::of(|visit| span.record(visit)));
        let _sending = Quiet::begin(Busy::Sending);
        let mut state = self.lock();
        state.last_span += 1;
        let id = state.last_span;
        let mut within = Self::parent(span.parent(), span.is_root());
        match within.and_then(|id| state.spans.get_mut(&id)) {
            Some(parent) => parent.handles += 1,
            None => within = None,
        }
        let metadata = span.metadata();
        let mut open = Open { metadata, handles: 1, told: false, within };
        if let Some(values) = values
            && state.told_spans < MOST_SPANS
            && let Some(site) = self.site(&mut state, metadata)
        {
            state.told_spans += 1;
            open.told = true;
            self.push(&Record::Span { id, site, parent: state.told(within), values });
        }
        state.spans.insert(id, open);
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Recorded<'_>) {
        let Some(writing) = Quiet::begin(Busy::Writing) else { return };
        let values = values::of(|visit| values.record(visit));
        self.about(id, |_, id| Some(Record::Values { id, values }));
        drop(writing);
    }

    fn record_follows_from(&self, id: &Id, cause: &Id) {
        let cause = cause.into_u64();
        self.about(id, |state, id| state.is_told(cause).then_some(Record::Follows { id, cause }));
    }

    fn event(&self, event: &Event<'_>) {
        let Some(_writing) = Quiet::begin(Busy::Writing) else { return };
        if !self.mark.is_here() {
            return;
        }
        let values = values::of(|visit| event.record(visit));
        let Some(_sending) = Quiet::begin(Busy::Sending) else { return };
        let mut state = self.lock();
        let Some(site) = self.site(&mut state, event.metadata()) else { return };
        let parent = state.told(Self::parent(event.parent(), event.is_root()));
        self.push(&Record::Event { site, parent, values });
    }

    fn enter(&self, id: &Id) {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(id.into_u64()));
        self.about(id, |_, id| Some(Record::Enter { id }));
    }

    fn exit(&self, id: &Id) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(at) = inside.iter().rposition(|i| *i == id.into_u64()) {
                inside.remove(at);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        if self.mark.is_here()
            && let Some(open) = self.lock().spans.get_mut(&id.into_u64())
        {
            open.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        if !self.mark.is_here() {
            return false;
        }
        let _sending = Quiet::begin(Busy::Sending);
        let mut state = self.lock();
        let closed = state.let_go(id.into_u64());
        for id in &closed {
            self.push(&Record::Close { id: *id });
        }
        !state.spans.contains_key(&id.into_u64())
    }

    fn current_span(&self) -> Current {
        let Some(id) = current().filter(|_| self.mark.is_here()) else { return Current::none() };
        match self.lock().spans.get(&id) {
            Some(open) => Current::new(Id::from_u64(id), open.metadata),
            None => Current::none(),
        }
    }
}
