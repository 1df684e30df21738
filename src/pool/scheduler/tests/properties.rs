//! Anything may happen, in any order, and some of it is not true.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngAlgorithm;

use super::scene::ms;
use super::world::{Place, World, id_of};
use crate::pool::scheduler::{Restart, Rules, Why, WorkerId};

/// Who or what it happens to is drawn from what there is by then.
#[derive(Clone, Debug)]
enum Event {
    Push(i32),
    Done(Index),
    Ready(Index),
    PutBack(Index),
    AddLoad(Index),
    Cancel(Index),
    Retire(Index, Why),
    Down(Index),
    /// It could not be made.
    Short(Index),
    Gone(Index),
    /// Any message, about one that is gone.
    Late(Index, u8),
    SpareMade,
    SpareLost,
    SpareUsed,
    Resize(usize),
    SetIdle(usize),
    SetLoad(usize),
    Reload,
    Drain,
    Stop,
    Pass(u64),
    Tick,
}

/// The end comes rarely, since not much happens after it.
fn event() -> impl Strategy<Value = Event> {
    prop_oneof![300 => everyday(), 1 => Just(Event::Drain), 1 => Just(Event::Stop)]
}

fn everyday() -> impl Strategy<Value = Event> {
    let any_index = any::<Index>;
    prop_oneof![
        30 => (-1..2).prop_map(Event::Push),
        30 => any_index().prop_map(Event::Done),
        20 => any_index().prop_map(Event::Ready),
        4 => any_index().prop_map(Event::PutBack),
        4 => any_index().prop_map(Event::AddLoad),
        3 => any_index().prop_map(Event::Cancel),
        6 => (any_index(), select(vec![Why::Asked, Why::Memory]))
            .prop_map(|(worker, why)| Event::Retire(worker, why)),
        4 => any_index().prop_map(Event::Down),
        10 => any_index().prop_map(Event::Gone),
        5 => any_index().prop_map(Event::Short),
        6 => (any_index(), 0..5_u8).prop_map(|(worker, what)| Event::Late(worker, what)),
        4 => Just(Event::SpareMade),
        2 => Just(Event::SpareLost),
        3 => Just(Event::SpareUsed),
        2 => (1..7_usize).prop_map(Event::Resize),
        2 => (0..5_usize).prop_map(Event::SetIdle),
        1 => (1..5_usize).prop_map(Event::SetLoad),
        4 => Just(Event::Reload),
        10 => (0..200_u64).prop_map(Event::Pass),
        10 => Just(Event::Tick),
    ]
}

prop_compose! {
    pub(super) fn rules()(
        (max, idle, load) in (1..7_usize, 0..5_usize, 1..5_usize),
        start in select(vec![0, 100]),
        stop in select(vec![ms(0), ms(500), Duration::MAX]),
        queue_limit in select(vec![0, 3, usize::MAX]),
        max_jobs in option::of(1..6_u64),
        jitter in select(vec![0.0, 0.5]),
        max_age in option::of(Just(ms(700))),
        (max_recycling, spares) in (1..4_usize, 0..3_usize),
        intensity in select(vec![1, 3, 1000]),
        backoff in select(vec![0, 50]),
    ) -> Rules {
        Rules {
            max,
            idle,
            load,
            start: ms(start),
            stop,
            queue_limit,
            max_jobs,
            jitter,
            max_age,
            max_recycling,
            spares,
            restart: Restart {
                intensity,
                period: ms(1000),
                backoff: ms(backoff),
                backoff_max: ms(200),
            },
        }
    }
}

/// One of those that are there.
fn one(world: &World, index: &Index) -> Option<WorkerId> {
    let count = world.workers.len();
    (count > 0).then(|| {
        let id = world.workers.keys().nth(index.index(count)).expect("fewer than there are");
        id_of(*id)
    })
}

fn happen(world: &mut World, event: &Event) {
    let now = world.time();
    match event {
        Event::Push(priority) => world.push(*priority),
        Event::Done(index) => one(world, index).map_or((), |id| world.done(id)),
        Event::Ready(index) => one(world, index).map_or((), |id| world.ready(id)),
        Event::PutBack(index) => {
            let sent = |(job, (_, place)): (usize, &(_, Place))| match place {
                Place::On(worker) => Some((*worker, job)),
                Place::Queued | Place::Over => None,
            };
            let all: Vec<_> = world.jobs.iter().enumerate().filter_map(sent).collect();
            if !all.is_empty() {
                let (worker, job) = all[index.index(all.len())];
                world.put_back(worker, job);
            }
        }
        Event::AddLoad(index) => {
            let Some(id) = one(world, index) else { return };
            if world.pool.add_load(id) {
                world.worker(id).extra += 1;
                world.use_now(id);
            }
            world.carry_out();
        }
        Event::Cancel(index) => {
            if !world.jobs.is_empty() {
                world.cancel(index.index(world.jobs.len()));
            }
        }
        Event::Retire(index, why) => {
            let Some(id) = one(world, index) else { return };
            let worker = world.worker(id);
            worker.excused |= *why == Why::Asked;
            world.pool.retire(id, now, *why);
            world.carry_out();
        }
        Event::Down(index) => {
            let Some(id) = one(world, index) else { return };
            world.worker(id).excused = true;
            world.pool.down(id, now);
            world.carry_out();
        }
        Event::Gone(index) => one(world, index).map_or((), |id| world.gone(id)),
        Event::Short(index) => {
            let Some(id) = one(world, index) else { return };
            world.worker(id).excused = true;
            world.was_short = true;
            world.pool.short(id, now);
            world.carry_out();
        }
        Event::Late(index, what) => {
            if world.past.is_empty() {
                return;
            }
            let id = world.past[index.index(world.past.len())];
            let before = (world.pool.counts(), world.pool.queued());
            assert_eq!(world.pool.state_of(id), None);
            match what {
                0 => world.pool.done(id, now),
                1 => world.pool.ready(id, now),
                2 => world.pool.gone(id, now),
                3 => world.pool.down(id, now),
                _ => world.pool.retire(id, now, Why::Asked),
            }
            assert_eq!((world.pool.counts(), world.pool.queued()), before);
            world.carry_out();
        }
        Event::SpareMade => {
            world.spares_on_their_way = world.spares_on_their_way.saturating_sub(1);
            world.pool.spare_made();
            world.carry_out();
        }
        Event::SpareLost => {
            world.spares_on_their_way = world.spares_on_their_way.saturating_sub(1);
            // One that was there, if none was on its way: for the world they are alike.
            world.pool.spare_lost(now);
            world.carry_out();
        }
        Event::SpareUsed => {
            world.pool.spare_used(now);
            world.carry_out();
        }
        Event::Resize(max) => {
            world.pool.resize(*max, now);
            world.carry_out();
        }
        Event::SetIdle(idle) => {
            world.pool.set_idle(*idle, now);
            world.carry_out();
        }
        Event::SetLoad(load) => {
            world.shuffled |= world.pool.rules().load != *load;
            world.pool.change(now, |rules| rules.load = *load);
            world.carry_out();
        }
        Event::Reload => {
            world.pool.reload(now);
            world.carry_out();
        }
        Event::Drain => {
            world.pool.drain(now);
            world.carry_out();
        }
        Event::Stop => world.stop(),
        Event::Pass(time) => {
            world.now += ms(*time);
            world.tick();
        }
        Event::Tick => {
            world.tick_next();
        }
    }
}

proptest! {
    // What fails is printed, and belongs into a test of its own.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        // The default is good enough for secrets, and most of the time in a debug build.
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    })]

    /// The world checks after every event; and in the end everything comes to rest.
    #[test]
    fn whatever_happens(rules in rules(), seed: u64, events in vec(event(), 1..300)) {
        let mut world = World::new(rules, seed);
        for event in &events {
            happen(&mut world, event);
        }
        // Nobody grows too old any more, or there would be no rest.
        let now = world.time();
        world.pool.change(now, |rules| rules.max_age = None);
        world.carry_out();
        world.rest();
        prop_assert_eq!(world.pool.next_tick(), None);
        prop_assert_eq!(world.pool.queued(), 0);
        let counts = world.pool.counts();
        let rules = world.pool.rules().clone();
        if world.pool.is_closed() {
            prop_assert_eq!((counts.starting, counts.busy, counts.retiring), (0, 0, 0));
        } else {
            let kept = rules.idle.min(rules.max);
            prop_assert!(counts.idle >= kept && counts.idle <= rules.max);
            prop_assert!(rules.stop == Duration::MAX || counts.idle == kept);
            prop_assert_eq!(counts.spares, rules.spares);
        }
        world.pool.drain(now);
        world.carry_out();
        world.rest();
        prop_assert_eq!(world.drained(), 1);
        prop_assert!(world.workers.is_empty());
        prop_assert!(world.jobs.iter().all(|(_, place)| *place == Place::Over));
    }

    /// With nobody answering anything, time runs out of things to do.
    #[test]
    fn time_alone_comes_to_an_end(rules in rules(), events in vec(event(), 1..100)) {
        let mut world = World::new(rules, 1);
        for event in &events {
            happen(&mut world, event);
        }
        let mut ticks = 0;
        while let Some(at) = world.pool.next_tick() {
            world.tick_next();
            prop_assert!(world.pool.next_tick().is_none_or(|next| next > at));
            ticks += 1;
            prop_assert!(ticks < 1000);
        }
    }
}
