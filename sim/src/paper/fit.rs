//! Fits an era's costs to the series that may be fitted, and to nothing else.

use anyhow::Context;

use super::era::{Era, EraParams};
use super::plans::plans;
use super::published::Published;
use crate::figure::figures_of;
use crate::sweep::{Runs, make_all};

/// Operations of a run that count: fits are smooth enough with so many.
const OPS: u64 = 15_000;
/// Factors by which parameters are changed, one after another.
const FACTORS: [f64; 5] = [1.3, 1.1, 1.04, 1.015, 1.005];

/// A series to come close to: figure, experiment and name.
type Target = (&'static str, &'static str, &'static str);

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

/// The fits of an era, one after another: what may move, and for which series.
fn stages(era: Era) -> Vec<(&'static [&'static str], Vec<Target>)> {
    let clover = &["round_ns", "slope", "exponent", "box_latency_ns", "box_frame_ns"];
    match era {
        Era::June2021 => vec![(
            clover,
            vec![("003", "003-zipf-c", "mapping off"), ("003", "003-uniform-c", "mapping off")],
        )],
        Era::December2021 => vec![
            (clover, vec![("020", "020-5", "clover")]),
            (&["map_receive_ns", "map_send_ns", "map_byte_ns"], vec![("020", "020-5", "mapping")]),
        ],
    }
}

/// Experiment and series of all that is fitted to.
#[cfg(test)]
pub(super) fn fitted() -> Vec<(&'static str, &'static str)> {
    let stages = Era::ALL.into_iter().flat_map(stages);
    let targets = stages.flat_map(|(_, targets)| targets);
    targets.map(|(_, experiment, series)| (experiment, series)).collect()
}

/// Fits an era's costs, beginning with those that it has. `progress` is told evaluations so far.
///
/// # Errors
/// When runs cannot be made.
pub fn fit(era: Era, progress: &mut dyn FnMut(u64)) -> anyhow::Result<Vec<Fitted>> {
    let published = Published::load()?;
    let mut best = era.load()?;
    let mut fitted = Vec::new();
    let mut evaluations = 0;
    for (names, targets) in stages(era) {
        let mut loss = |params: &EraParams| {
            evaluations += 1;
            progress(evaluations);
            loss(params, &targets, &published)
        };
        let (params, rms) = descend(&best, names, &mut loss)?;
        best = params.clone();
        fitted.push(Fitted { names, params, rms });
    }
    Ok(fitted)
}

/// Root mean square of the logarithms of model over measurement.
fn loss(params: &EraParams, targets: &[Target], published: &Published) -> anyhow::Result<f64> {
    let values = EraParams::SPECS
        .iter()
        .filter_map(|spec| Some(format!("base.set-era.{}={}", spec.name, params.get(spec.name)?)));
    let with: Vec<String> = values.chain([format!("base.ops={OPS}")]).collect();
    let (mut runs, mut wanted) = (Runs::default(), Vec::new());
    for (figure, experiment, series) in targets {
        let (figures, all) = figures_of(&plans(&[(*figure).to_owned()], false, &with)?, published);
        let panels = figures.iter().flat_map(|figure| &figure.panels);
        let mut curves = panels
            .filter(|panel| panel.experiment == *experiment)
            .flat_map(|panel| &panel.curves)
            .filter(|curve| curve.series == *series);
        let curve = curves.next().with_context(|| format!("no {series} in {experiment}"))?;
        for (threads, kops) in published.curve(experiment, series).into_iter().flatten() {
            let job = curve.points.iter().find(|(x, _)| x == threads);
            let (_, job) = job.with_context(|| format!("{experiment} has no {threads}"))?;
            wanted.push((runs.add(all.job(*job), 1), *kops));
        }
    }
    let results = make_all(&runs, &|_, _| {});
    let mut sum = 0.0;
    for (job, kops) in &wanted {
        let shown = results.estimate(*job, 1, "kops").map_err(anyhow::Error::msg)?;
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
