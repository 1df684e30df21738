//! Callsites of workers, as this program's subscribers know callsites: for ever, so they
//! are made once for each place in the program, and there is an end to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};

use tracing::callsite::{self, Callsite, Identifier};
use tracing::field::{FieldSet, ValueSet};
use tracing::level_filters::LevelFilter;
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Dispatch, Level, Metadata};

use super::record::{Place, Strength, Value, Values};
use super::values;

/// There are no more places in a program, unless a worker lies.
const MOST: usize = 10_000;
/// Nor is there more text to them, in bytes.
const MOST_TEXT: usize = 16 << 20;

/// Fields that every record has besides its own.
pub(super) const PID: &str = "worker.pid";
pub(super) const ENTRY: &str = "worker.entry";

/// A callsite here.
pub(super) struct Site {
    /// Refers to the site itself.
    metadata: OnceLock<Metadata<'static>>,
    registered: AtomicBool,
    interest: AtomicU8,
    /// Fields of its own, which come first.
    own: usize,
    /// Where the worker's pid and entry go; not if it was another worker's callsite there.
    adds_worker: bool,
    /// It stands for many: all values are put into words.
    common: bool,
}

#[derive(Default)]
struct Known {
    sites: HashMap<Place, &'static Site>,
    text: usize,
}

static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();

const NEVER: u8 = 0;
const SOMETIMES: u8 = 1;
const ALWAYS: u8 = 2;

impl Callsite for Site {
    fn set_interest(&self, interest: Interest) {
        let interest = match interest {
            i if i.is_never() => NEVER,
            i if i.is_always() => ALWAYS,
            _ => SOMETIMES,
        };
        self.interest.store(interest, Ordering::Release);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("it is set when the site is made")
    }
}

impl Site {
    /// The site of a place; one of a few common ones, if there are too many.
    pub(super) fn of(place: Place) -> &'static Site {
        let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(|e| e.into_inner());
        let text = known.text + place.text();
        let place = if known.sites.contains_key(&place) {
            place
        } else if known.sites.len() < MOST && text <= MOST_TEXT {
            known.text = text;
            place
        } else {
            common(&place)
        };
        if let Some(site) = known.sites.get(&place) {
            return site;
        }
        let site = Site::leak(&place);
        known.sites.insert(place, site);
        site
    }

    /// Shows it to all subscribers, once. They are not called by `of`, which holds a lock.
    pub(super) fn register(&'static self) {
        if !self.registered.swap(true, Ordering::AcqRel) {
            callsite::register(self);
        }
    }

    fn leak(place: &Place) -> &'static Site {
        let text = |text: &String| -> &'static str { String::leak(text.clone()) };
        let mut names: Vec<&'static str> = place.fields.iter().map(text).collect();
        let own = names.len();
        let adds_worker = !names.contains(&PID);
        if adds_worker {
            names.extend([PID, ENTRY]);
        }
        let site: &'static Site = Box::leak(Box::new(Site {
            metadata: OnceLock::new(),
            registered: AtomicBool::new(false),
            interest: AtomicU8::new(SOMETIMES),
            own,
            adds_worker,
            common: place.target == COMMON,
        }));
        let metadata = Metadata::new(
            text(&place.name),
            text(&place.target),
            Level::from(place.level),
            place.file.as_ref().map(text),
            place.line,
            place.module.as_ref().map(text),
            FieldSet::new(names.leak(), Identifier(site)),
            if place.is_span { Kind::SPAN } else { Kind::EVENT },
        );
        site.metadata.get_or_init(|| metadata);
        site
    }

    pub(super) fn metadata(&'static self) -> &'static Metadata<'static> {
        self.metadata.get().expect("it is set when the site is made")
    }

    /// How many fields a worker may give values for.
    pub(super) fn fields(&self) -> usize {
        if self.common { usize::MAX } else { self.own }
    }

    /// Whether a subscriber wants it; asked as the macros ask.
    pub(super) fn is_wanted(&'static self, by: &Dispatch) -> bool {
        let metadata = self.metadata();
        *metadata.level() <= LevelFilter::current()
            && match self.interest.load(Ordering::Acquire) {
                NEVER => false,
                ALWAYS => true,
                _ => by.enabled(metadata),
            }
    }

    /// Shows values. Those of the worker itself are given only once for a span.
    pub(super) fn show<T>(
        &'static self,
        given: &Values,
        worker: Option<(u32, &str)>,
        to: impl FnOnce(&ValueSet<'_>) -> T,
    ) -> T {
        let words = self.common.then(|| {
            Value::Debug(given.iter().map(|(_, v)| v.to_string()).collect::<Vec<_>>().join(" "))
        });
        let fields = self.metadata().fields();
        let mut held: Vec<Option<Box<dyn tracing::Value + '_>>> = Vec::new();
        held.resize_with(fields.len(), || None);
        if let Some(words) = &words {
            held[0] = Some(values::shown(words));
        } else {
            for (field, value) in given {
                held[*field as usize] = Some(values::shown(value));
            }
        }
        if let Some((pid, entry)) = worker.filter(|_| self.adds_worker) {
            held[self.own] = Some(Box::new(pid));
            held[self.own + 1] = Some(Box::new(entry));
        }
        let shown: Vec<Option<&dyn tracing::Value>> = held.iter().map(|v| v.as_deref()).collect();
        to(&fields.value_set_all(&shown))
    }
}

const COMMON: &str = "offshoot::workers";

/// What stands for a place when there are too many of them: one for each level.
fn common(place: &Place) -> Place {
    Place {
        is_span: place.is_span,
        level: place.level,
        name: "one of too many callsites".to_owned(),
        target: COMMON.to_owned(),
        module: None,
        file: None,
        line: None,
        fields: vec!["message".to_owned()],
    }
}

/// The place of a panic in a worker.
pub(super) fn of_panic(entry: &str, file: String, line: u32) -> Place {
    Place {
        is_span: false,
        level: Strength::Error,
        name: "panic".to_owned(),
        target: entry.rsplit_once("::").map_or(entry, |(module, _)| module).to_owned(),
        module: None,
        file: (!file.is_empty()).then_some(file),
        line: (line > 0).then_some(line),
        fields: vec!["message".to_owned(), "location".to_owned()],
    }
}
