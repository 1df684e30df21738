//! A worker's `tracing` spans and events, told to the parent's subscriber.
//!
//! The worker's own subscriber (`worker.rs`) makes a record of each (`record.rs`), which
//! goes with the replies and events; here they happen once more, at callsites made after
//! the worker's (`site.rs`).

mod record;
mod site;
mod values;
pub(super) mod worker;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tracing::field::ValueSet;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record as Recorded};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, dispatcher};

pub(super) use self::record::Strength;
use self::record::{MOST_SITES, MOST_SPANS, Place, Record, Value, Values};
use self::site::Site;
use super::codec::Body;
use crate::error::Fault;

/// An event is emitted inside of as many of the spans around it.
const MOST_AROUND: usize = 64;

/// What one worker logs.
pub(super) struct Logs {
    to: Dispatch,
    most: Strength,
    entry: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pid: u32,
    sites: Vec<&'static Site>,
    /// The worker's open spans, by its numbers.
    spans: HashMap<u64, Open>,
}

struct Open {
    site: &'static Site,
    around: Option<u64>,
    /// The span here; if nobody here wants it, the next one around it that somebody wants,
    /// kept open.
    here: Option<Id>,
    wanted: bool,
}

fn lie<T>(why: &'static str) -> Result<T, Fault> {
    Err(Fault::Protocol(why))
}

impl Logs {
    /// For the worker `entry`, to the current subscriber, if there is one that wants
    /// anything.
    pub(super) fn to_current(entry: &'static str) -> Option<Logs> {
        let most = LevelFilter::current().into_level()?.into();
        let to = dispatcher::get_default(Dispatch::clone);
        let wanted = !to.is::<NoSubscriber>();
        wanted.then(|| Logs { to, most, entry, state: Mutex::default() })
    }

    /// The most that is wanted.
    pub(super) fn most(&self) -> Strength {
        self.most
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Emits a record here.
    pub(super) fn emit(&self, body: &Body<'_>) -> Result<(), Fault> {
        let Ok((record, [])) = postcard::take_from_bytes::<Record>(body) else {
            return lie("a log record that cannot be read");
        };
        // Subscribers look for themselves in the thread's default.
        dispatcher::with_default(&self.to, || self.lock().replay(&self.to, self.entry, record))
    }

    /// Nothing more comes: what is open will not be closed by the worker.
    pub(super) fn end(&self) {
        let spans = std::mem::take(&mut self.lock().spans);
        dispatcher::with_default(&self.to, || {
            for id in spans.into_values().filter_map(|open| open.here) {
                self.to.try_close(id);
            }
        });
    }
}

impl State {
    fn replay(&mut self, to: &Dispatch, entry: &str, record: Record) -> Result<(), Fault> {
        let worker = Some((self.pid, entry));
        match record {
            Record::Begin { pid } => self.pid = pid,
            Record::Site(place) => self.add_site(place)?,
            Record::Span { id, site, parent: around, values } => {
                self.known(around)?;
                let site = self.site(site, true)?;
                check(site, &values)?;
                if self.spans.contains_key(&id) {
                    return lie("two spans of one number");
                }
                if self.spans.len() >= MOST_SPANS {
                    return lie("more spans than may be open");
                }
                // First, so that it is known if the subscriber panics.
                self.spans.insert(id, Open { site, around, here: None, wanted: false });
                let made = self.within(to, around, || {
                    let make =
                        |set: &ValueSet<'_>| to.new_span(&attributes(site, self.here(around), set));
                    site.is_wanted(to).then(|| site.show(&values, worker, make))
                });
                let wanted = made.is_some();
                let here = made.or_else(|| self.here(around).map(|id| to.clone_span(id)));
                self.spans.insert(id, Open { site, around, here, wanted });
            }
            Record::Values { id, values } => {
                let open = self.open(id)?;
                check(open.site, &values)?;
                if let (Some(here), true) = (&open.here, open.wanted) {
                    open.site.show(&values, None, |set| to.record(here, &Recorded::new(set)));
                }
            }
            Record::Follows { id, cause } => {
                let (open, cause) = (self.open(id)?, self.open(cause)?);
                if let (Some(here), true, Some(cause)) = (&open.here, open.wanted, &cause.here) {
                    to.record_follows_from(here, cause);
                }
            }
            Record::Enter { id } => {
                let open = self.open(id)?;
                if let (Some(here), true) = (&open.here, open.wanted) {
                    to.enter(here);
                    to.exit(here);
                }
            }
            Record::Close { id } => match self.spans.remove(&id) {
                Some(open) => drop(open.here.map(|here| to.try_close(here))),
                None => return lie("the end of an unknown span"),
            },
            Record::Event { site, parent, values } => {
                let site = self.site(site, false)?;
                check(site, &values)?;
                self.known(parent)?;
                self.event(to, site, parent, worker, &values);
            }
            Record::Panic { message, file, line, column, parent } => {
                let location = Value::Str(format!("{file}:{line}:{column}"));
                let site = Site::of(site::of_panic(entry, file, line));
                site.register();
                let values = vec![(0, Value::Debug(message)), (1, location)];
                self.known(parent)?;
                self.event(to, site, parent, worker, &values);
            }
        }
        Ok(())
    }

    fn event(
        &self,
        to: &Dispatch,
        site: &'static Site,
        parent: Option<u64>,
        worker: Option<(u32, &str)>,
        values: &Values,
    ) {
        self.within(to, parent, || {
            if site.is_wanted(to) {
                let parent = self.here(parent).cloned();
                site.show(values, worker, |set| {
                    to.event(&Event::new_child_of(parent, site.metadata(), set));
                });
            }
        });
    }

    fn add_site(&mut self, place: Place) -> Result<(), Fault> {
        if self.sites.len() >= MOST_SITES || !place.fits() {
            return lie("more callsites than there may be");
        }
        let site = Site::of(place);
        self.sites.push(site);
        site.register();
        Ok(())
    }

    fn site(&self, number: u32, is_span: bool) -> Result<&'static Site, Fault> {
        match self.sites.get(number as usize) {
            Some(site) if site.metadata().is_span() == is_span => Ok(site),
            _ => lie("a span or an event of no known callsite"),
        }
    }

    fn open(&self, id: u64) -> Result<&Open, Fault> {
        self.spans.get(&id).map_or_else(|| lie("an unknown span"), Ok)
    }

    fn known(&self, id: Option<u64>) -> Result<(), Fault> {
        id.map_or(Ok(()), |id| self.open(id).map(|_| ()))
    }

    /// What stands here for a span of the worker.
    fn here(&self, id: Option<u64>) -> Option<&Id> {
        self.spans.get(&id?)?.here.as_ref()
    }

    /// The spans here around something in `parent`, outermost first.
    fn around(&self, parent: Option<u64>) -> Vec<Id> {
        let parent = parent.and_then(|id| self.spans.get(&id));
        let all = std::iter::successors(parent, |open| self.spans.get(&open.around?));
        let wanted = all.take(MOST_AROUND).filter(|open| open.wanted);
        let mut ids: Vec<_> = wanted.filter_map(|open| open.here.clone()).collect();
        ids.reverse();
        ids
    }

    /// Does it in all the spans around it, as it was done there: some filters go by them.
    fn within<T>(&self, to: &Dispatch, parent: Option<u64>, act: impl FnOnce() -> T) -> T {
        let around = self.around(parent);
        around.iter().for_each(|id| to.enter(id));
        let done = act();
        around.iter().rev().for_each(|id| to.exit(id));
        done
    }
}

fn attributes<'a>(
    site: &'static Site,
    parent: Option<&Id>,
    values: &'a ValueSet<'a>,
) -> Attributes<'a> {
    match parent {
        Some(id) => Attributes::child_of(id.clone(), site.metadata(), values),
        None => Attributes::new_root(site.metadata(), values),
    }
}

fn check(site: &Site, values: &Values) -> Result<(), Fault> {
    let most = site.fields();
    if values.len() <= most && values.iter().all(|(field, _)| (*field as usize) < most) {
        Ok(())
    } else {
        lie("a value of no field")
    }
}
