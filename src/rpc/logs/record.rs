//! What a worker says of its `tracing` spans and events, and how much of it.

use serde::{Deserialize, Serialize};
use tracing::Level;

/// Callsites that one worker tells of.
pub(super) const MOST_SITES: usize = 1 << 16;
/// Spans that one worker has open and told of, at a time.
pub(super) const MOST_SPANS: usize = 1 << 14;
/// Fields that a callsite has.
pub(super) const MOST_FIELDS: usize = 1 << 12;
/// Bytes of text in one record; what is longer is cut.
pub(super) const MOST_TEXT: usize = 512 * 1024;
const _: () = assert!(2 * MOST_TEXT < super::super::frame::MAX_OWN_BODY as usize);
/// An error and the sources that it is told with.
pub(super) const MOST_SOURCES: usize = 64;

/// One frame of kind `Log`. Spans go by numbers that the worker gives, callsites by the
/// order in which they were told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// The first one.
    Begin { pid: u32 },
    /// A callsite, before what comes from it.
    Site(Place),
    /// A new span.
    Span { id: u64, site: u32, parent: Option<u64>, values: Values },
    /// More values of a span.
    Values { id: u64, values: Values },
    /// A span follows from another.
    Follows { id: u64, cause: u64 },
    /// A span was entered.
    Enter { id: u64 },
    /// A span is over.
    Close { id: u64 },
    /// An event, in a span or none.
    Event { site: u32, parent: Option<u64>, values: Values },
    /// A panic, wherever it was.
    Panic { message: String, file: String, line: u32, column: u32, parent: Option<u64> },
}

/// Where spans or events come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) is_span: bool,
    pub(super) level: Strength,
    pub(super) name: String,
    pub(super) target: String,
    pub(super) module: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) fields: Vec<String>,
}

impl Place {
    /// Whether it may be told of at all.
    pub(super) fn fits(&self) -> bool {
        self.fields.len() <= MOST_FIELDS && self.text() <= MOST_TEXT
    }

    /// Bytes of text in it.
    pub(super) fn text(&self) -> usize {
        let rest = [&self.module, &self.file].into_iter().flatten().map(String::len);
        let fields = self.fields.iter().map(String::len);
        self.name.len() + self.target.len() + rest.chain(fields).sum::<usize>()
    }
}

/// A level, as it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(in super::super) enum Strength {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for Strength {
    fn from(level: Level) -> Strength {
        match level {
            Level::ERROR => Strength::Error,
            Level::WARN => Strength::Warn,
            Level::INFO => Strength::Info,
            Level::DEBUG => Strength::Debug,
            Level::TRACE => Strength::Trace,
        }
    }
}

impl From<Strength> for Level {
    fn from(level: Strength) -> Level {
        match level {
            Strength::Error => Level::ERROR,
            Strength::Warn => Level::WARN,
            Strength::Info => Level::INFO,
            Strength::Debug => Level::DEBUG,
            Strength::Trace => Level::TRACE,
        }
    }
}

/// Values with the places of their fields in the callsite's list.
pub(super) type Values = Vec<(u32, Value)>;

/// What a field can hold: what `tracing::field::Visit` tells apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Value {
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
    Str(String),
    Bytes(Vec<u8>),
    /// As its `Debug` writes it.
    Debug(String),
    /// As its `Display` writes it, and then its sources.
    Error(Vec<String>),
}
