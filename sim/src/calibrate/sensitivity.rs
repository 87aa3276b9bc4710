//! What moves when a parameter is twice or half what it is.
//!
//! A parameter that moves nothing says nothing, and one that moves a single curve may exist only to
//! bend it: both want a reason to be there.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Calibration, Job, ours};
use crate::cluster::BoxParams;
use crate::nic::{Network, Parameters, Params, Preset, PresetError, Spec};

/// A change smaller than this counts as none.
const NOTHING: f64 = 0.005;

/// What a parameter's change does to the curve that it moves most.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Moved {
    /// The curve.
    pub series: String,
    /// Mean over its points of the model's number over that of the preset as it is.
    pub ratio: f64,
}

/// What a parameter does.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Sensitivity {
    /// The adapter, the middlebox, or "network".
    pub preset: &'static str,
    /// The parameter.
    pub parameter: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its value.
    pub value: f64,
    /// What moves most when it is doubled; none if nothing does.
    pub doubled: Option<Moved>,
    /// The same when it is halved.
    pub halved: Option<Moved>,
    /// Curves that either moves.
    pub curves: usize,
}

/// What a curve's points are in the model.
pub(super) type Curves = Vec<(String, Vec<f64>)>;

/// Told parameters done, and of how many.
type Progress<'a> = dyn FnMut(u64, u64) + 'a;

impl Calibration {
    /// What each parameter of the adapters named does to all experiments on its adapter, those that
    /// are predicted included, and to a few of ours. If none is named, that of all adapters, and of
    /// the network and the middleboxes to runs of ours.
    ///
    /// # Errors
    /// When a middlebox cannot be loaded.
    pub fn sensitivities(
        &self,
        only: &[String],
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Sensitivity>, PresetError> {
        let wanted =
            |preset: &&Preset| only.is_empty() || only.iter().any(|name| name == preset.name);
        let presets: Vec<&Preset> = self.presets.iter().filter(wanted).collect();
        let boxes: Vec<_> = BoxParams::names().filter(|_| only.is_empty()).collect();
        let networks = usize::from(only.is_empty());
        let total = presets.len() * Params::SPECS.len()
            + networks * Network::SPECS.len()
            + boxes.len() * BoxParams::SPECS.len();
        let mut done = 0;
        let mut tick = || {
            progress(done, total as u64);
            done += 1;
        };
        let mut all = Vec::new();
        for preset in presets {
            let jobs = self.jobs(preset.name, |_| true);
            let curves = |params: &Params| self.curves(&jobs, params);
            all.extend(of_parameters(preset.name, &preset.params, &curves, &mut tick));
        }
        if only.is_empty() {
            let network = Network::default();
            all.extend(of_parameters("network", &network, &ours::network_curves, &mut tick));
        }
        for name in boxes {
            let base = BoxParams::load(name)?;
            let curves = |costs: &BoxParams| ours::box_curves(&base, costs);
            all.extend(of_parameters(name, &base, &curves, &mut tick));
        }
        Ok(all)
    }

    /// The model's numbers, by curve.
    fn curves(&self, jobs: &[Job], params: &Params) -> Curves {
        let mut curves: Curves = Vec::new();
        for (at, model) in self.run(jobs, params) {
            let Some(model) = model else { continue };
            let row = &self.points[at].row;
            let series = format!("{}: {}", row.group(), row.series());
            match curves.iter_mut().find(|(name, _)| *name == series) {
                Some((_, points)) => points.push(model),
                None => curves.push((series, vec![model])),
            }
        }
        curves.extend(ours::adapter_curves(params));
        curves
    }
}

/// What each parameter does to curves.
fn of_parameters<P: Parameters>(
    preset: &'static str,
    params: &P,
    curves: &dyn Fn(&P) -> Curves,
    tick: &mut dyn FnMut(),
) -> Vec<Sensitivity> {
    let base = curves(params);
    let one = |spec| {
        tick();
        of_parameter(preset, params, spec, curves, &base)
    };
    P::specs().iter().map(one).collect()
}

fn of_parameter<P: Parameters>(
    preset: &'static str,
    params: &P,
    spec: &Spec,
    curves: &dyn Fn(&P) -> Curves,
    base: &Curves,
) -> Sensitivity {
    let value = params.value(spec.name).unwrap_or(0.0);
    let mut moved = [None, None];
    let mut moves = vec![false; base.len()];
    for (factor, most) in [2.0, 0.5].into_iter().zip(&mut moved) {
        let mut params = params.clone();
        // Some cannot be doubled, or are as small as they can be; twice nothing is nothing.
        if value == 0.0 || params.change(spec.name, value * factor).is_err() {
            continue;
        }
        for ((at, (series, before)), (_, after)) in base.iter().enumerate().zip(curves(&params)) {
            let ratio = mean_ratio(before, &after);
            if (ratio - 1.0).abs() < NOTHING {
                continue;
            }
            moves[at] = true;
            let one = Moved { series: series.clone(), ratio };
            if most.as_ref().is_none_or(|most: &Moved| most.strength() < one.strength()) {
                *most = Some(one);
            }
        }
    }
    let [doubled, halved] = moved;
    let curves = moves.into_iter().filter(|moves| *moves).count();
    let Spec { name: parameter, about, .. } = *spec;
    Sensitivity { preset, parameter, about, value, doubled, halved, curves }
}

impl Moved {
    fn strength(&self) -> f64 {
        self.ratio.ln().abs()
    }
}

impl Sensitivity {
    fn strength(&self) -> f64 {
        let moved = self.doubled.iter().chain(&self.halved);
        moved.map(Moved::strength).fold(0.0, f64::max)
    }
}

fn mean_ratio(before: &[f64], after: &[f64]) -> f64 {
    let logs = before.iter().zip(after).map(|(before, after)| (after / before).ln());
    (logs.sum::<f64>() / before.len().max(1) as f64).exp()
}

/// For people, as Markdown: a line for each parameter, with what it moves most in any preset.
#[must_use]
pub fn render_text(all: &[Sensitivity]) -> String {
    let mut text = String::from(
        "| parameter | curves that it moves | most | value | doubled | halved | which curve |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for kind in [Params::SPECS, Network::SPECS, BoxParams::SPECS] {
        for spec in kind {
            line(&mut text, spec, all);
        }
    }
    text
}

/// A parameter's line, if it was changed.
fn line(text: &mut String, spec: &Spec, all: &[Sensitivity]) {
    // Adapters and middleboxes have parameters of the same name.
    let is_same = |one: &&Sensitivity| (one.parameter, one.about) == (spec.name, spec.about);
    let same = all.iter().filter(is_same);
    let same: Vec<&Sensitivity> = same.collect();
    let Some(most) = same.iter().max_by(|a, b| a.strength().total_cmp(&b.strength())) else {
        return;
    };
    let moving = same.iter().filter(|one| one.curves > 0);
    let counts: Vec<_> = moving.map(|one| format!("{} {}", one.preset, one.curves)).collect();
    let counts = if counts.is_empty() { "**none**".to_owned() } else { counts.join(", ") };
    let percent = |moved: &Option<Moved>| {
        moved.as_ref().map_or("-".to_owned(), |m| format!("{:+.0} %", (m.ratio - 1.0) * 100.0))
    };
    let (doubled, halved) = (percent(&most.doubled), percent(&most.halved));
    let both = [&most.doubled, &most.halved].into_iter().flatten();
    let strongest = both.max_by(|a, b| a.strength().total_cmp(&b.strength()));
    let series = strongest.map_or("-", |moved| moved.series.as_str());
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "| `{}` | {counts} | {} | {} | {doubled} | {halved} | {} |",
        spec.name,
        most.preset,
        most.value,
        short(series)
    );
}

/// A curve's name without the machines that it was measured on.
fn short(series: &str) -> String {
    let parts: Vec<&str> = series.split("; ").collect();
    match parts.len() {
        0..=2 => series.to_owned(),
        all => parts[..all - 1].join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::setup::no_verbs;

    /// Runs nothing: says what would be true of curves that follow two parameters.
    #[test]
    fn what_moves_most_is_told_and_what_moves_nothing_as_well() {
        let network = Network::default();
        let curves = |network: &Network| {
            vec![
                ("a".to_owned(), vec![network.queue_bytes, network.queue_bytes]),
                ("b".to_owned(), vec![network.queue_bytes / network.hyper_gbps.powi(2)]),
            ]
        };
        let all = of_parameters("network", &network, &curves, &mut || ());
        let of = |name: &str| all.iter().find(|one| one.parameter == name).unwrap();
        let queue = of("queue_bytes");
        assert_eq!((queue.curves, queue.doubled.as_ref().unwrap().ratio.round()), (2, 2.0));
        let hyper = of("hyper_gbps");
        assert_eq!(hyper.halved, Some(Moved { series: "b".to_owned(), ratio: 4.0 }));
        assert_eq!((of("least_gbps").curves, &of("least_gbps").doubled), (0, &None));
        let text = render_text(&all);
        assert_eq!(text.lines().count(), 2 + Network::SPECS.len());
        let line = "| `hyper_gbps` | network 1 | network | 0.4 | -75 % | +300 % | b |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("| `least_gbps` | **none** |"), "{text}");
    }

    /// Each middlebox's latency shows in one READ through it.
    #[test]
    fn runs_of_ours_are_made() {
        let base = BoxParams::load("prototype").unwrap();
        let curves = ours::box_curves(&base, &base);
        assert!(
            curves.iter().all(|(_, points)| points.len() == 1 && points[0] > 0.0),
            "{curves:?}"
        );
        let calibration = Calibration::load(no_verbs).unwrap();
        assert!(
            calibration.sensitivities(&["none".to_owned()], &mut |_, _| ()).unwrap().is_empty()
        );
    }
}
