//! How fast the machine is meanwhile. What others do to its caches and its clock changes by a
//! factor of two, within seconds, what a turn of the loop takes. So a loop that is kept busy, and
//! not more than that, runs in between, and time is counted as if that one were always equally
//! fast.

use std::cell::RefCell;
use std::rc::Rc;

use crate::runs::{BUSY, Case};
use crate::world::{Source, World};

/// Emulated time between two looks, ns.
const APART: u64 = 10_000_000;
/// Time of a look, ns.
const LOOK: u64 = 2_000_000;
/// The same for the first one, which all others are compared with.
const FIRST: u64 = 100_000_000;

/// A world at capacity that others' time is measured by.
pub(crate) struct Reference {
    world: World,
    /// Operations in a nanosecond that it did at first.
    usual: f64,
}

impl Reference {
    pub(crate) fn new(ring: usize, seed: u64) -> anyhow::Result<Rc<RefCell<Reference>>> {
        let mut world = World::new(&Case::many_clients(ring).shape, seed)?;
        world.translate_all()?;
        world.set_source(Source::Closed, BUSY);
        let mut reference = Reference { world, usual: 1.0 };
        reference.speed(FIRST / 2);
        reference.usual = reference.speed(FIRST);
        Ok(Rc::new(RefCell::new(reference)))
    }

    /// What it does now, as a multiple of what it did at first.
    fn speed(&mut self, ns: u64) -> f64 {
        let (done, from) = (self.world.tally.completed, self.world.now);
        self.world.run_for(ns);
        let done = self.world.tally.completed - done;
        done.max(1) as f64 / (self.world.now - from) as f64 / self.usual
    }
}

/// How fast the machine was when it was looked at.
pub(crate) struct Pace {
    reference: Rc<RefCell<Reference>>,
    speed: f64,
    until: u64,
}

impl Pace {
    pub(crate) fn new(reference: &Rc<RefCell<Reference>>) -> Pace {
        Pace { reference: Rc::clone(reference), speed: 1.0, until: 0 }
    }

    /// Looks again, if it is time to.
    pub(crate) fn look(&mut self, now: u64) {
        if now >= self.until {
            self.until = now + APART;
            self.speed = self.reference.borrow_mut().speed(LOOK);
        }
    }

    /// The time for which the processor was busy, as it would have been at first.
    pub(crate) fn usual(&self, took: u64) -> u64 {
        ((took as f64 * self.speed) as u64).max(1)
    }
}
