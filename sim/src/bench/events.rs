//! The event core of simulations, beside a loop over a binary heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::{ROUNDS, median, thread_ns};
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
    /// Events per second of processor time.
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
    let total = (sizes.len() * 2 * ROUNDS + 3 * ROUNDS) as u64;
    let mut done = 0;
    let mut benches = Vec::new();
    let [mut queue, mut floor] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        floor.push(rate(&mut || closed_loop(&mut Heap::default(), events)));
        queue.push(rate(&mut || closed_loop(&mut Queue::new(), events)));
        done += 2;
        progress(done, total);
    }
    benches.push(bench("closed loop, 64 clients and one server", CLIENTS.into(), queue, &floor));
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

/// Events per second of processor time, of something that says how many there were.
fn rate(run: &mut dyn FnMut() -> u64) -> f64 {
    let begin = thread_ns();
    let events = run();
    events as f64 / (thread_ns() - begin).max(1.0) * 1e9
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

/// Clients of the closed loop, each with one request at a time.
const CLIENTS: u32 = 64;
/// One way between a client and the server, and how long the server takes for one.
const WIRE: Ps = 850 * NS;
const SERVICE: Ps = 8 * NS;

/// What happens to a client's request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// It comes to the server.
    Arrives(u32),
    /// The server has done it.
    IsDone(u32),
    /// The client has its answer, and asks again.
    IsAnswered(u32),
}

/// What puts events in order.
trait Core {
    fn after(&mut self, delay: Ps, step: Step);
    fn next(&mut self) -> Option<(Ps, Step)>;
}

impl Core for Queue<Step> {
    fn after(&mut self, delay: Ps, step: Step) {
        Queue::after(self, delay, step);
    }

    fn next(&mut self) -> Option<(Ps, Step)> {
        self.pop().map(|step| (self.now(), step))
    }
}

/// As it is written by hand where nothing else is wanted.
#[derive(Default)]
struct Heap {
    events: BinaryHeap<Reverse<(Ps, u64, Step)>>,
    now: Ps,
    caused: u64,
}

impl Core for Heap {
    fn after(&mut self, delay: Ps, step: Step) {
        self.caused += 1;
        self.events.push(Reverse((self.now + delay, self.caused, step)));
    }

    fn next(&mut self) -> Option<(Ps, Step)> {
        let Reverse((now, _, step)) = self.events.pop()?;
        self.now = now;
        Some((now, step))
    }
}

/// Clients that ask, wait for the answer and ask again, for so many events.
fn closed_loop(core: &mut impl Core, events: u64) -> u64 {
    let mut dice = Dice::new(1, 0, 0);
    (0..CLIENTS).for_each(|client| core.after(dice.below(WIRE), Step::Arrives(client)));
    let (mut free, mut sum) = (0, 0);
    for _ in 0..events {
        match core.next() {
            Some((now, Step::Arrives(client))) => {
                free = now.max(free) + SERVICE;
                core.after(free - now, Step::IsDone(client));
            }
            Some((_, Step::IsDone(client))) => core.after(WIRE, Step::IsAnswered(client)),
            Some((now, Step::IsAnswered(client))) => {
                sum ^= now ^ u64::from(client);
                core.after(WIRE + dice.below(64 * NS), Step::Arrives(client));
            }
            None => break,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_cores_do_the_same() {
        let (mut queue, mut heap) = (Queue::new(), Heap::default());
        closed_loop(&mut queue, 10_000);
        closed_loop(&mut heap, 10_000);
        let rest = |core: &mut dyn Core| std::iter::from_fn(|| core.next()).collect::<Vec<_>>();
        let (mine, floor) = (rest(&mut queue), rest(&mut heap));
        assert_eq!(mine.len(), CLIENTS as usize);
        assert!(mine == floor);
    }
}
