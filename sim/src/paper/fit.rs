//! Fits an era's costs to the series that may be fitted, and to nothing else.

use qpmux_workloads::keys::Ycsb;

use super::era::{Era, EraParams};
use super::figures::Effort;
use super::jobs::{Jobs, Metric};
use super::published::Published;
use super::scene::Scene;
use crate::store::Mode;

/// Operations of a run that count: fits are smooth enough with so many.
const OPS: u64 = 15_000;
/// Factors by which parameters are changed, one after another.
const FACTORS: [f64; 5] = [1.3, 1.1, 1.04, 1.015, 1.005];

/// A series to come close to, and the parameters that may move for it.
struct Target {
    mode: Mode,
    /// Uniform keys, or Zipf's.
    theta: Option<f64>,
    workload: Ycsb,
    experiment: &'static str,
    series: &'static str,
}

/// A fit's result.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// What was changed.
    pub names: &'static [&'static str],
    /// The costs.
    pub params: EraParams,
    /// Root mean square of the logarithms of model over measurement.
    pub rms: f64,
}

impl Fitted {
    /// What was found for one of its names.
    #[must_use]
    pub fn value(&self, name: &str) -> f64 {
        self.params.get(name).unwrap_or(f64::NAN)
    }
}

/// The fits of an era, one after another.
fn stages(era: Era) -> Vec<(&'static [&'static str], Vec<Target>)> {
    let clover = &["round_ns", "slope", "exponent", "box_latency_ns", "box_frame_ns"];
    let target = |mode, theta, workload, experiment, series| Target {
        mode,
        theta,
        workload,
        experiment,
        series,
    };
    match era {
        Era::June2021 => vec![(
            clover,
            vec![
                target(Mode::Clover, Some(0.75), Ycsb::C, "003-zipf-c", "mapping off"),
                target(Mode::Clover, None, Ycsb::C, "003-uniform-c", "mapping off"),
            ],
        )],
        Era::December2021 => vec![
            (clover, vec![target(Mode::Clover, Some(0.99), Ycsb::B, "020-5", "clover")]),
            (
                &["map_receive_ns", "map_send_ns", "map_byte_ns"],
                vec![target(Mode::Mapping, Some(0.99), Ycsb::B, "020-5", "mapping")],
            ),
        ],
    }
}

/// Experiment and series of all that is fitted to.
#[cfg(test)]
pub(super) fn fitted() -> Vec<(&'static str, &'static str)> {
    let stages = Era::ALL.into_iter().flat_map(stages);
    let targets = stages.flat_map(|(_, targets)| targets);
    targets.map(|target| (target.experiment, target.series)).collect()
}

/// Fits an era's costs, beginning with those that it has. `progress` is told evaluations so far.
///
/// # Errors
/// When runs cannot be made.
pub fn fit(era: Era, progress: &mut dyn FnMut(u64)) -> anyhow::Result<Vec<Fitted>> {
    let published = Published::load()?;
    let mut scene = Scene { ops: OPS, ..Scene::of(era, Effort::Full)? };
    let mut fitted = Vec::new();
    let mut evaluations = 0;
    for (names, targets) in stages(era) {
        let mut loss = |params: &EraParams| {
            evaluations += 1;
            progress(evaluations);
            loss(&scene, params, &targets, &published)
        };
        let (params, rms) = descend(&scene.params, names, &mut loss)?;
        scene.params = params.clone();
        fitted.push(Fitted { names, params, rms });
    }
    Ok(fitted)
}

/// Root mean square of the logarithms of model over measurement.
fn loss(
    scene: &Scene,
    params: &EraParams,
    targets: &[Target],
    published: &Published,
) -> anyhow::Result<f64> {
    let mut jobs = Jobs::default();
    let mut wanted = Vec::new();
    for target in targets {
        let scene = Scene { params: params.clone(), theta: target.theta, ..scene.clone() };
        let curve = published.curve(target.experiment, target.series);
        for (threads, kops) in curve.into_iter().flatten() {
            let job = scene.job(target.mode, target.workload, *threads as usize)?;
            wanted.push((jobs.add(job), *kops));
        }
    }
    let results = jobs.run(1, &|_| {});
    let mut sum = 0.0;
    for (job, kops) in &wanted {
        let shown = results.estimate(*job, Metric::Kops).map_err(anyhow::Error::msg)?;
        sum += (shown.mean / kops).ln().powi(2);
    }
    Ok((sum / wanted.len().max(1) as f64).sqrt())
}

/// Changes the named parameters one after another as long as that makes the loss less, then with
/// smaller factors, and all of them on in the direction in which they went (Hooke and Jeeves,
/// 1961).
fn descend(
    start: &EraParams,
    names: &[&str],
    loss: &mut dyn FnMut(&EraParams) -> anyhow::Result<f64>,
) -> anyhow::Result<(EraParams, f64)> {
    let mut best = start.clone();
    let mut least = loss(&best)?;
    for factor in FACTORS {
        loop {
            let (from, before) = (best.clone(), least);
            for name in names {
                for factor in [factor, 1.0 / factor] {
                    let mut next = best.clone();
                    let value = best.get(name).unwrap_or(0.0) * factor;
                    if next.set(name, value).is_err() {
                        continue;
                    }
                    let there = loss(&next)?;
                    if there < least {
                        (best, least) = (next, there);
                        break;
                    }
                }
            }
            if least >= before * 0.995 {
                break;
            }
            let mut next = best.clone();
            for name in names {
                let (was, is) = (from.get(name).unwrap_or(0.0), best.get(name).unwrap_or(0.0));
                if was > 0.0 {
                    // Out of range: it stays where it is.
                    let _ = next.set(name, is * is / was);
                }
            }
            let there = loss(&next)?;
            if there < least {
                (best, least) = (next, there);
            }
        }
    }
    Ok((best, least))
}
