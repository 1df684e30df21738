//! The values of fields: taken down in the worker, and held up to a visitor in the parent.

use std::error::Error;
use std::fmt::{self, Display, Write};

use tracing::field::{Field, Visit};

use super::record::{MOST_SOURCES, MOST_TEXT, Value, Values};

/// What a callsite's values are, by having them visited.
pub(super) fn of(visit: impl FnOnce(&mut dyn Visit)) -> Values {
    let mut taken = Taken { values: Vec::new(), room: MOST_TEXT };
    visit(&mut taken);
    taken.values
}

/// As much of a text as is told.
pub(super) fn clipped(text: &str) -> String {
    let mut clip = Clip { text: String::new(), room: MOST_TEXT };
    let _ = clip.write_str(text);
    clip.text
}

struct Taken {
    values: Values,
    /// Bytes of text that may follow.
    room: usize,
}

/// A text that stops where there is no room for more.
struct Clip {
    text: String,
    room: usize,
}

impl Write for Clip {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = part.floor_char_boundary(self.room);
        self.text.push_str(&part[..end]);
        self.room -= end;
        if end < part.len() {
            self.room = 0;
            self.text.push('…');
            return Err(fmt::Error);
        }
        Ok(())
    }
}

impl Taken {
    fn put(&mut self, field: &Field, value: Value) {
        self.values.push((field.index() as u32, value));
    }

    fn text(&mut self, text: fmt::Arguments<'_>) -> String {
        let mut clip = Clip { text: String::new(), room: self.room };
        // An error of whoever is written is as good as the end of the text.
        let _ = clip.write_fmt(text);
        self.room = clip.room;
        clip.text
    }
}

impl Visit for Taken {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::F64(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, Value::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, Value::U128(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = self.text(format_args!("{value}"));
        self.put(field, Value::Str(text));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        let bytes = value[..value.len().min(self.room)].to_vec();
        self.room -= bytes.len();
        self.put(field, Value::Bytes(bytes));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut texts = Vec::new();
        let mut next = Some(value);
        while let Some(error) = next.filter(|_| texts.len() < MOST_SOURCES) {
            texts.push(self.text(format_args!("{error}")));
            next = error.source();
        }
        self.put(field, Value::Error(texts));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = self.text(format_args!("{value:?}"));
        self.put(field, Value::Debug(text));
    }
}

/// An error that was told with its sources.
#[derive(Debug)]
struct Told {
    text: String,
    source: Option<Box<Told>>,
}

impl Told {
    fn new(texts: &[String]) -> Told {
        let texts = &texts[..texts.len().min(MOST_SOURCES)];
        let wrap = |source: Option<Box<Told>>, text: &String| {
            Some(Box::new(Told { text: text.clone(), source }))
        };
        let first = texts.iter().rev().fold(None, wrap);
        first.map_or_else(|| Told { text: String::new(), source: None }, |first| *first)
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// A value that a visitor finds to be of the kind that it was.
pub(super) fn shown(value: &Value) -> Box<dyn tracing::Value + '_> {
    match value {
        Value::I64(n) => Box::new(*n),
        Value::U64(n) => Box::new(*n),
        Value::I128(n) => Box::new(*n),
        Value::U128(n) => Box::new(*n),
        Value::F64(n) => Box::new(*n),
        Value::Bool(b) => Box::new(*b),
        Value::Str(text) => Box::new(text.as_str()),
        Value::Bytes(bytes) => Box::new(bytes.as_slice()),
        Value::Debug(text) => Box::new(tracing::field::display(text)),
        Value::Error(texts) => {
            let error: Box<dyn Error + 'static> = Box::new(Told::new(texts));
            Box::new(error)
        }
    }
}

/// A value in words, where its field has no place of its own.
impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::I64(n) => n.fmt(f),
            Value::U64(n) => n.fmt(f),
            Value::I128(n) => n.fmt(f),
            Value::U128(n) => n.fmt(f),
            Value::F64(n) => n.fmt(f),
            Value::Bool(b) => b.fmt(f),
            Value::Str(text) => fmt::Debug::fmt(text, f),
            Value::Bytes(bytes) => fmt::Debug::fmt(bytes, f),
            Value::Debug(text) => f.write_str(text),
            Value::Error(texts) => f.write_str(&texts.join(": ")),
        }
    }
}
