//! The three invariants of `lead.rs`, under many orders of events: one leads at most,
//! nobody sleeps for ever (the checker reports a deadlock), everybody gets its answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use offshoot_model::socket::Link;
use offshoot_model::sync::{self, Arc, Instant};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

/// Orders tried of each kind, unless OFFSHOOT_MODEL_ROUNDS says otherwise.
const ROUNDS: usize = 500;

/// Runs a scenario under random schedules, and under such as find bugs that need few
/// switches at the right places (PCT, depth 3).
fn check(scenario: fn()) {
    let scenario = move || {
        sync::reset();
        scenario();
    };
    // The clock is one for all: one scenario at a time in a process.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    let rounds = std::env::var("OFFSHOOT_MODEL_ROUNDS").map_or(ROUNDS, |n| n.parse().unwrap());
    shuttle::check_random(scenario, rounds);
    shuttle::check_pct(scenario, rounds, 3);
}

/// The template: answers all of them, in any order.
fn answers(link: &Arc<Link>, ids: u32) -> thread::JoinHandle<()> {
    let link = Arc::clone(link);
    thread::spawn(move || {
        let mut left: Vec<u32> = (0..ids).collect();
        while !left.is_empty() {
            let next = left.swap_remove(thread_rng().gen_range(0..left.len()));
            link.answer(next);
        }
    })
}

fn waits(link: &Arc<Link>, id: u32) -> thread::JoinHandle<()> {
    let link = Arc::clone(link);
    thread::spawn(move || assert_eq!(link.wait(id, None), Some(id * 10)))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn everybody_who_waits_gets_its_answer() {
    check(|| {
        let link = Link::new(0..4, false);
        let template = answers(&link, 4);
        join((0..4).map(|id| waits(&link, id)).chain([template]));
    });
}

#[test]
fn several_may_wait_for_the_same_answer() {
    check(|| {
        let link = Link::new(0..2, false);
        let waiters: Vec<_> = [0, 0, 1, 1].map(|id| waits(&link, id)).into();
        join(waiters.into_iter().chain([answers(&link, 2)]));
    });
}

/// Waits, but not for ever, together with the clock that ends it.
fn wait_hastily(link: &Arc<Link>, ids: [u32; 2]) -> Vec<thread::JoinHandle<()>> {
    const STEP: Duration = Duration::from_millis(1);
    let deadline = Instant::now().after(2 * STEP);
    let sleepers = Arc::new(AtomicUsize::new(ids.len()));
    let hasty = ids.map(|id| {
        let (link, sleepers) = (Arc::clone(link), Arc::clone(&sleepers));
        thread::spawn(move || {
            match link.wait(id, Some(deadline)) {
                Some(answer) => assert_eq!(answer, id * 10),
                None => assert!(Instant::now() >= deadline, "not before its time"),
            }
            sleepers.fetch_sub(1, Ordering::SeqCst);
        })
    });
    let clock = thread::spawn(move || sync::run_clock(3, STEP, &sleepers));
    hasty.into_iter().chain([clock]).collect()
}

#[test]
fn a_leader_that_runs_out_of_time_passes_the_lead_on() {
    check(|| {
        let link = Link::new(0..3, false);
        let patient: Vec<_> = (0..2).map(|id| waits(&link, id)).collect();
        let hasty = wait_hastily(&link, [0, 2]);
        join(patient.into_iter().chain(hasty).chain([answers(&link, 3)]));
    });
}

#[test]
fn those_whose_answers_never_come_leave_in_time() {
    check(|| join(wait_hastily(&Link::new(0..2, false), [0, 1])));
}

#[test]
fn those_who_only_look_take_nothing_from_those_who_wait() {
    check(|| {
        let link = Link::new(0..3, false);
        let template = answers(&link, 3);
        let looker = {
            let link = Arc::clone(&link);
            thread::spawn(move || (0..3).for_each(|_| link.drain()))
        };
        join((0..3).map(|id| waits(&link, id)).chain([looker, template]));
    });
}

#[test]
fn the_hub_reads_where_nobody_waits_in_person() {
    check(|| {
        let link = Link::new(0..4, true);
        let hub = {
            let link = Arc::clone(&link);
            thread::spawn(move || while link.hub_turn() {})
        };
        let alarms = (0..2).map(|id| {
            let link = Arc::clone(&link);
            thread::spawn(move || assert_eq!(link.wait_by_alarm(id), id * 10))
        });
        let alarms: Vec<_> = alarms.collect();
        let template = answers(&link, 4);
        join((2..4).map(|id| waits(&link, id)).chain(alarms).chain([template]));
        link.stop_hub();
        join([hub]);
    });
}
