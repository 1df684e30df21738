//! Fields of spans and events, as a visitor gets them.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};

/// A value by the kind as which a visitor gets it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Got {
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
    Str(String),
    Bytes(Vec<u8>),
    Debug(String),
    /// With its sources.
    Error(Vec<String>),
}

/// Fields with their values, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub Vec<(String, Got)>);

impl Fields {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Got> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// The text of a field, if it has one.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Got::Str(text) | Got::Debug(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a field, if it has one.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Got::U64(n) => Some(*n),
            _ => None,
        }
    }
}

pub(super) fn taken(visit: impl FnOnce(&mut dyn Visit)) -> Fields {
    let mut fields = Fields::default();
    visit(&mut fields);
    fields
}

impl Fields {
    fn put(&mut self, field: &Field, value: Got) {
        self.0.push((field.name().to_owned(), value));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Got::F64(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Got::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Got::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, Got::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, Got::U128(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Got::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Got::Str(value.to_owned()));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.put(field, Got::Bytes(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let chain = std::iter::successors(Some(value), |e| (*e).source());
        self.put(field, Got::Error(chain.map(ToString::to_string).collect()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Got::Debug(format!("{value:?}")));
    }
}
