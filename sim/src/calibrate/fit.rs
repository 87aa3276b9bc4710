//! Search for the parameters with which the model comes closest to what was measured.

use crate::nic::{Params, rounded};

/// Factors by which parameters are changed, one after another.
const FACTORS: [f64; 7] = [1.6, 1.25, 1.1, 1.05, 1.02, 1.01, 1.004];
/// Passes over all parameters with one factor at most.
const PASSES: usize = 12;
/// An improvement that is less than this part of the loss is none: the parameter moves nothing.
const LEAST_GAIN: f64 = 1e-6;

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Parameters that have been looked at with some factor.
    pub done: u64,
    /// The most that there can be: passes that change nothing end a factor early.
    pub total: u64,
}

/// Changes the named parameters one after another, each by a factor up or down as long as that
/// makes the loss less, with ever smaller factors. The same input gives the same output.
pub fn search(
    start: &Params,
    names: &[&str],
    loss: &mut dyn FnMut(&Params) -> f64,
    progress: &mut dyn FnMut(Step),
) -> (Params, f64) {
    let mut best = start.clone();
    let mut least = loss(&best);
    let total = (FACTORS.len() * names.len()) as u64;
    for (level, factor) in FACTORS.into_iter().enumerate() {
        for _ in 0..PASSES {
            let before = least;
            for (at, name) in names.iter().enumerate() {
                walk(&mut best, &mut least, name, factor, loss);
                progress(Step { done: (level * names.len() + at + 1) as u64, total });
            }
            if least >= before {
                break;
            }
        }
    }
    (best, least)
}

/// Changes one parameter as long as that makes the loss less.
fn walk(
    best: &mut Params,
    least: &mut f64,
    name: &str,
    factor: f64,
    loss: &mut dyn FnMut(&Params) -> f64,
) {
    for factor in [factor, 1.0 / factor] {
        let mut moved = false;
        while let Some(next) = changed(best, name, factor) {
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
