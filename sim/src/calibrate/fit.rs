//! Search for the parameters with which the model comes closest to what was measured.

use crate::nic::{Params, rounded};

/// Factors by which parameters are changed, one after another.
const FACTORS: [f64; 7] = [1.6, 1.25, 1.1, 1.05, 1.02, 1.01, 1.004];
/// Those with which the neighbour of a small count is tried, and times against each other: there
/// are
/// many pairs of them.
const FINE: &[f64] = &[1.1, 1.02, 1.004];
/// Counts up to here change by so much with each one more that all else has to follow.
const SMALL: f64 = 64.0;
/// Passes over all parameters with one factor at most.
const PASSES: usize = 12;
/// An improvement that is less than this part of the loss is none: the parameter moves nothing.
const LEAST_GAIN: f64 = 1e-6;

/// How far a search has come; neighbours of counts make `total` grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Parameters that have been looked at with some factor.
    pub done: u64,
    /// What there is to look at, as far as is known.
    pub total: u64,
}

/// A search under way.
struct Search<'a> {
    loss: &'a mut dyn FnMut(&Params) -> f64,
    progress: &'a mut dyn FnMut(Step),
    step: Step,
}

/// Finds parameters with which the loss is little, by changing the named ones. The same input gives
/// the same output.
///
/// A small count is coupled to a time: six walkers of 320 ns are almost five of 270. Its neighbours
/// are better only once the times have followed, so each is tried with a search of its own.
pub fn search(
    start: &Params,
    names: &[&str],
    loss: &mut dyn FnMut(&Params) -> f64,
    progress: &mut dyn FnMut(Step),
) -> (Params, f64) {
    let mut search = Search { loss, progress, step: Step { done: 0, total: 0 } };
    let mut found = search.descend(start, names, &FACTORS);
    for _ in 0..PASSES {
        let before = found.1;
        for name in names.iter().filter(|name| small_count(start, name)) {
            let others: Vec<_> = names.iter().copied().filter(|other| other != name).collect();
            for factor in [1.0 + f64::EPSILON, 1.0 - f64::EPSILON] {
                let Some(start) = changed(&found.0, name, factor) else { continue };
                let other = search.descend(&start, &others, FINE);
                if other.1 < found.1 * (1.0 - LEAST_GAIN) {
                    found = other;
                }
            }
        }
        if found.1 >= before {
            break;
        }
    }
    found
}

fn small_count(params: &Params, name: &str) -> bool {
    name.ends_with("_count") && params.get(name).is_some_and(|value| value <= SMALL)
}

impl Search<'_> {
    /// Changes the named parameters one after another, each by a factor up or down as long as that
    /// makes the loss less, and then all of them on in the direction in which they went, with ever
    /// smaller factors (Hooke and Jeeves, 1961). Times of one path, whose sum is better known than
    /// they are, are also changed against each other.
    fn descend(&mut self, start: &Params, names: &[&str], factors: &[f64]) -> (Params, f64) {
        let mut best = start.clone();
        let mut least = (self.loss)(&best);
        let names = &self.moving(&best, least, names);
        let done = self.step.done;
        self.step.total = done + (factors.len() * names.len()) as u64;
        for (level, &factor) in factors.iter().enumerate() {
            for _ in 0..PASSES {
                let (from, before) = (best.clone(), least);
                for (at, name) in names.iter().enumerate() {
                    let both = [factor, 1.0 / factor];
                    let ways = both.map(|factor| move |params: &_| changed(params, name, factor));
                    walk(&mut best, &mut least, &ways, self.loss);
                    self.step.done = done + (level * names.len() + at + 1) as u64;
                    (self.progress)(self.step);
                }
                let stuck = least >= before * (1.0 - LEAST_GAIN);
                let shift = FINE.contains(&factor);
                if stuck && !(shift && self.shift(&mut best, &mut least, names, factor)) {
                    break;
                }
                stride(&from, &mut best, &mut least, names, self.loss);
            }
        }
        (best, least)
    }

    /// Those of the parameters that move something.
    fn moving<'n>(&mut self, params: &Params, here: f64, names: &[&'n str]) -> Vec<&'n str> {
        let moves = |name: &&&str| {
            [FACTORS[0], 1.0 / FACTORS[0]].into_iter().any(|factor| {
                let changed = changed(params, name, factor);
                changed.is_some_and(|changed| (self.loss)(&changed) != here)
            })
        };
        names.iter().filter(moves).copied().collect()
    }

    /// Takes from one time what it gives to another, for each two of them; says whether that has
    /// made the loss less.
    fn shift(&mut self, best: &mut Params, least: &mut f64, names: &[&str], factor: f64) -> bool {
        let before = *least;
        let times = || names.iter().filter(|name| name.ends_with("_ns"));
        for (at, a) in times().enumerate() {
            for b in times().skip(at + 1) {
                let ways = [(a, b), (b, a)]
                    .map(|(from, to)| move |params: &Params| shifted(params, from, to, factor));
                walk(best, least, &ways, self.loss);
            }
        }
        *least < before * (1.0 - LEAST_GAIN)
    }
}

/// Goes on from one set of parameters past a better one, as long as that makes the loss less.
fn stride(
    from: &Params,
    best: &mut Params,
    least: &mut f64,
    names: &[&str],
    loss: &mut dyn FnMut(&Params) -> f64,
) {
    let mut from = from.clone();
    loop {
        let mut next = best.clone();
        for name in names {
            let (Some(was), Some(is)) = (from.get(name), best.get(name)) else { continue };
            if let Some(changed) = changed(&next, name, is / was).filter(|_| is != was) {
                next = changed;
            }
        }
        let loss = loss(&next);
        if loss >= *least * (1.0 - LEAST_GAIN) {
            return;
        }
        from = std::mem::replace(best, next);
        *least = loss;
    }
}

/// Changes parameters in one of these ways as long as that makes the loss less.
fn walk(
    best: &mut Params,
    least: &mut f64,
    ways: &[impl Fn(&Params) -> Option<Params>],
    loss: &mut dyn FnMut(&Params) -> f64,
) {
    for way in ways {
        let mut moved = false;
        while let Some(next) = way(best) {
            let loss = loss(&next);
            if loss >= *least * (1.0 - LEAST_GAIN) {
                break;
            }
            (*best, *least) = (next, loss);
            moved = true;
        }
        if moved {
            return;
        }
    }
}

/// With a part of one time, or of the other if that is less, given to the other.
fn shifted(params: &Params, from: &str, to: &str, factor: f64) -> Option<Params> {
    let (less, more) = (params.get(from)?, params.get(to)?);
    let part = (factor - 1.0) * less.min(more);
    let mut shifted = params.clone();
    shifted.set(from, rounded(less - part)).ok()?;
    shifted.set(to, rounded(more + part)).ok()?;
    (shifted != *params).then_some(shifted)
}

/// With one parameter changed; none if it cannot be.
fn changed(params: &Params, name: &str, factor: f64) -> Option<Params> {
    let value = params.get(name)?;
    let spec = Params::SPECS.iter().find(|spec| spec.name == name)?;
    let whole = ["count", "bytes"].iter().any(|unit| name.ends_with(&format!("_{unit}")))
        && value >= 1.0
        && value.fract() == 0.0;
    let next = match value * factor {
        next if !whole => rounded(next),
        next if factor > 1.0 => next.round().max(value + 1.0),
        next => next.round().min(value - 1.0),
    };
    let (low, high) = spec.range;
    let mut changed = params.clone();
    let next = next.clamp(low, high);
    (next != value).then(|| changed.set(name, next).ok().map(|()| changed)).flatten()
}

#[cfg(test)]
mod tests {
    use super::{changed, search};
    use crate::nic::Preset;

    #[test]
    fn a_valley_is_found_from_afar_and_what_moves_nothing_stays() {
        let start = Preset::load("connectx-5").unwrap().params;
        let mut loss = |params: &crate::nic::Params| {
            let a = (params.post_ns / 93.0).ln();
            let b = (params.context_fetches_count / 13.0).ln();
            a * a + b * b + 0.5 * a * b
        };
        let names = ["post_ns", "context_fetches_count", "poll_ns"];
        let mut last = None;
        let (found, least) = search(&start, &names, &mut loss, &mut |step| last = Some(step));
        assert!((found.post_ns / 93.0 - 1.0).abs() < 0.005, "{}", found.post_ns);
        assert_eq!(found.context_fetches_count, 13.0);
        assert_eq!(found.poll_ns, start.poll_ns);
        assert!(least < 1e-4);
        assert!(last.is_some_and(|step| step.done == step.total));
    }

    #[test]
    fn counts_stay_whole_and_all_stay_in_their_range() {
        let mut params = Preset::load("connectx-5").unwrap().params;
        params.set("context_fetches_count", 1.0).unwrap();
        assert_eq!(changed(&params, "context_fetches_count", 0.9), None);
        let more = changed(&params, "context_fetches_count", 1.01).unwrap();
        assert_eq!(more.context_fetches_count, 2.0);
        assert_eq!(changed(&params, "no_such_ns", 2.0), None);
        params.set("post_ns", 0.0).unwrap();
        assert_eq!(changed(&params, "post_ns", 2.0), None, "a factor cannot leave 0");
    }
}
