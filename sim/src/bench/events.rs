//! The event core of simulations, beside a loop over a binary heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::{ROUNDS, median};
use crate::dice::Dice;
use crate::event::{NS, Ps, Queue};
use crate::nic::{Preset, PresetError};
use crate::verbs::{VerbsPlan, run};

/// How fast events are, one after the other in the order of time.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct EventBench {
    /// What is measured.
    pub what: &'static str,
    /// Events that are to happen at any time.
    pub pending: u64,
    /// Events per second.
    pub events_per_s: f64,
    /// Events per second of the floor: a loop over a binary heap, written by hand, that does
    /// nothing else.
    pub floor_events_per_s: f64,
    /// The first over the second.
    pub ratio: f64,
    /// Slowest and fastest round over the median.
    pub spread: [f64; 2],
}

/// Measures the event core with so many events each time. `progress` is told measurements done, and
/// of how many.
///
/// # Errors
/// When the preset of the adapter that is simulated cannot be read.
pub fn events(
    events: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<EventBench>, PresetError> {
    let params = Preset::load("connectx-5")?.params;
    let plan =
        VerbsPlan { threads: 24, outstanding: 8, ops: events / 20, ..VerbsPlan::new(&params) };
    let model = || run(&plan, 1, &mut |_| ()).map_or(0, |outcome| outcome.events);
    let sizes = [200, 1_000, 100_000];
    let total = (sizes.len() * 2 * ROUNDS + ROUNDS) as u64;
    let mut done = 0;
    let mut benches = Vec::new();
    for pending in sizes {
        let [mut queue, mut floor, mut whole] = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            floor.push(rate(&mut || heap_loop(events, pending)));
            queue.push(rate(&mut || queue_loop(events, pending)));
            done += 2;
            if pending == sizes[0] {
                whole.push(rate(&mut || model()));
                done += 1;
            }
            progress(done, total);
        }
        benches.push(bench("queue alone", pending, queue, &floor));
        if !whole.is_empty() {
            benches.push(bench(
                "24 threads, 8 READs each, adapters included",
                pending,
                whole,
                &floor,
            ));
        }
    }
    Ok(benches)
}

fn bench(what: &'static str, pending: u64, rates: Vec<f64>, floor: &[f64]) -> EventBench {
    let (own, spread) = median(rates);
    let (least, _) = median(floor.to_vec());
    EventBench {
        what,
        pending,
        events_per_s: own,
        floor_events_per_s: least,
        ratio: own / least,
        spread,
    }
}

/// Events per second of something that says how many there were.
fn rate(run: &mut dyn FnMut() -> u64) -> f64 {
    let started = Instant::now();
    let events = run();
    events as f64 / started.elapsed().as_secs_f64().max(1e-9)
}

/// Delays as adapters have them: a few that are always the same, and some from a distribution.
fn delay(dice: &mut Dice) -> Ps {
    match dice.below(8) {
        0 => 8_480,
        1 | 2 => 170 * NS,
        3 | 4 => 320 * NS,
        5 => 54_760,
        _ => dice.below(600 * NS),
    }
}

fn queue_loop(events: u64, pending: u64) -> u64 {
    let mut dice = Dice::new(1, 0, 0);
    let mut queue = Queue::new();
    (0..pending).for_each(|event| queue.at(delay(&mut dice), event as u32));
    let mut sum = 0;
    for _ in 0..events {
        let Some(event) = queue.pop() else { break };
        sum ^= event;
        queue.after(delay(&mut dice), event);
    }
    std::hint::black_box(sum);
    events
}

fn heap_loop(events: u64, pending: u64) -> u64 {
    let mut dice = Dice::new(1, 0, 0);
    let mut heap = BinaryHeap::new();
    (0..pending).for_each(|event| heap.push(Reverse((delay(&mut dice), event, event as u32))));
    let mut caused = pending;
    let mut sum = 0;
    for _ in 0..events {
        let Some(Reverse((now, _, event))) = heap.pop() else { break };
        sum ^= event;
        caused += 1;
        heap.push(Reverse((now + delay(&mut dice), caused, event)));
    }
    std::hint::black_box(sum);
    events
}

/// For people.
#[must_use]
pub fn render_text(benches: &[EventBench]) -> String {
    let mut text =
        "events                                        pending   M/s   floor   ratio   spread\n"
            .to_owned();
    for one in benches {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<45}{:>8}{:>6.1}{:>8.1}{:>8.2}   {:.2} to {:.2}",
            one.what,
            one.pending,
            one.events_per_s / 1e6,
            one.floor_events_per_s / 1e6,
            one.ratio,
            one.spread[0],
            one.spread[1]
        );
    }
    text
}
