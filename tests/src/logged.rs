//! A `tracing` subscriber that writes down what it gets, for the tests of forwarded logs.
//! It keeps books on spans, and what is wrong with them is an entry too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{ThreadId, current};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use fields::taken;
pub use fields::{Fields, Got};

mod fields;

/// An entry.
#[derive(Clone, Debug)]
pub struct Line {
    /// `event`, `new`, `values`, `follows`, `enter`, `close`, `wrong`, or a note.
    pub what: String,
    /// Where it comes from; of a span, for its entries.
    pub from: &'static Metadata<'static>,
    /// All but `values` and `event` have those of the span.
    pub fields: Fields,
    /// Names of the spans around it, innermost first.
    pub within: Vec<&'static str>,
    /// Names of the spans that the thread is in.
    pub inside: Vec<&'static str>,
}

#[derive(Default)]
struct Book {
    lines: Vec<Line>,
    spans: HashMap<u64, Span>,
    last: u64,
    /// The spans that each thread is in: what workers say is told by several.
    inside: HashMap<ThreadId, Vec<u64>>,
}

struct Span {
    from: &'static Metadata<'static>,
    fields: Fields,
    parent: Option<u64>,
    handles: usize,
}

/// The subscriber; its clones write into one book.
#[derive(Clone)]
pub struct Logged {
    book: Arc<Mutex<Book>>,
    wants: Arc<dyn Fn(&Metadata<'_>) -> bool + Send + Sync>,
    most: LevelFilter,
}

impl Logged {
    /// One that wants everything up to a level.
    pub fn up_to(level: Level) -> Logged {
        Logged::new(level, |_| true)
    }

    /// One that wants what `wants` says, up to a level.
    pub fn new(
        most: Level,
        wants: impl Fn(&Metadata<'_>) -> bool + Send + Sync + 'static,
    ) -> Logged {
        Logged { book: Arc::default(), wants: Arc::new(wants), most: LevelFilter::from_level(most) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What is written there.
    pub fn lines(&self) -> Vec<Line> {
        self.book().lines.clone()
    }

    /// Events only.
    pub fn events(&self) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.what == "event").collect()
    }

    /// Writes a note between the others, by a line of its own.
    pub fn note(&self, what: &str) {
        let mut book = self.book();
        if let Some(last) = book.lines.last().cloned() {
            book.lines.push(Line { what: what.to_owned(), ..last });
        }
    }

    /// Spans that are open.
    pub fn open_spans(&self) -> usize {
        self.book().spans.len()
    }
}

impl Book {
    fn inside(&mut self) -> &mut Vec<u64> {
        self.inside.entry(current().id()).or_default()
    }

    fn names(&self, innermost: Option<u64>) -> Vec<&'static str> {
        let span = |id: Option<u64>| self.spans.get(&id?);
        let all = std::iter::successors(span(innermost), |s| span(s.parent));
        all.map(|s| s.from.name()).collect()
    }

    fn add(
        &mut self,
        what: &str,
        from: &'static Metadata<'static>,
        fields: Fields,
        in_: Option<u64>,
    ) {
        let inside = self.inside.get(&current().id()).into_iter().flatten();
        let inside = inside.filter_map(|id| Some(self.spans.get(id)?.from.name())).collect();
        let within = self.names(in_);
        self.lines.push(Line { what: what.to_owned(), from, fields, within, inside });
    }

    fn about(&mut self, what: &str, id: &Id, fields: Option<Fields>) {
        let Some(span) = self.spans.get(&id.into_u64()) else {
            let Some(last) = self.lines.last().map(|l| l.from) else { return };
            return self.add(&format!("wrong: {what} of no span"), last, Fields::default(), None);
        };
        let (from, parent) = (span.from, span.parent);
        let fields = fields.unwrap_or_else(|| span.fields.clone());
        self.add(what, from, fields, parent);
    }
}

impl Subscriber for Logged {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most && (self.wants)(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let fields = taken(|visit| span.record(visit));
        let mut book = self.book();
        book.last += 1;
        let id = book.last;
        let inside = book.inside().last().copied();
        let parent = match span.parent() {
            Some(parent) => Some(parent.into_u64()),
            None => inside.filter(|_| span.is_contextual()),
        };
        let from = span.metadata();
        book.add("new", from, fields.clone(), parent);
        book.spans.insert(id, Span { from, fields, parent, handles: 1 });
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let fields = taken(|visit| values.record(visit));
        self.book().about("values", id, Some(fields));
    }

    fn record_follows_from(&self, id: &Id, cause: &Id) {
        let mut book = self.book();
        let cause = book.spans.get(&cause.into_u64()).map_or("nothing", |s| s.from.name());
        book.about(&format!("follows {cause}"), id, None);
    }

    fn event(&self, event: &Event<'_>) {
        let fields = taken(|visit| event.record(visit));
        let mut book = self.book();
        let inside = book.inside().last().copied();
        let parent = match event.parent() {
            Some(parent) => Some(parent.into_u64()),
            None => inside.filter(|_| event.is_contextual()),
        };
        book.add("event", event.metadata(), fields, parent);
    }

    fn enter(&self, id: &Id) {
        let mut book = self.book();
        book.about("enter", id, None);
        book.inside().push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let mut book = self.book();
        if book.inside().pop() != Some(id.into_u64()) {
            book.about("wrong: another span is left than was entered last", id, None);
        }
    }

    fn clone_span(&self, id: &Id) -> Id {
        let mut book = self.book();
        match book.spans.get_mut(&id.into_u64()) {
            Some(span) => span.handles += 1,
            None => book.about("clone", id, None),
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut book = self.book();
        let Some(span) = book.spans.get_mut(&id.into_u64()) else {
            book.about("close", &id, None);
            return false;
        };
        span.handles -= 1;
        let closes = span.handles == 0;
        if closes {
            book.about("close", &id, None);
            book.spans.remove(&id.into_u64());
        }
        closes
    }
}
