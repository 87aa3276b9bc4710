//! What moves when a parameter is twice or half what it is.
//!
//! A parameter that moves nothing says nothing, and one that moves a single curve may exist only to
//! bend it: both want a reason to be there.

use std::fmt::Write;

use rayon::prelude::*;
use serde::Serialize;

use super::{Calibration, Job, SEED};
use crate::nic::{Params, Preset, Spec};
use crate::verbs::{self, RawOp, Sharing, VerbsPlan};

/// A change smaller than this counts as none.
const NOTHING: f64 = 0.005;

/// What a parameter's change does to the curve that it moves most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// The curve.
    pub series: String,
    /// Mean over its points of the model's number over that of the preset as it is.
    pub ratio: f64,
}

/// What a parameter does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensitivity {
    /// The preset.
    pub preset: &'static str,
    /// The parameter.
    pub parameter: &'static str,
    /// Its value.
    pub value: f64,
    /// What moves most when it is doubled; none if nothing does.
    pub doubled: Option<Moved>,
    /// The same when it is halved.
    pub halved: Option<Moved>,
    /// Curves that either moves.
    pub curves: usize,
}

/// Runs of ours that nobody has published numbers for, in which what an adapter holds is short.
fn own_plans(params: &Params) -> [(&'static str, VerbsPlan); 4] {
    let base = || VerbsPlan { threads: 16, outstanding: 8, ops: 20_000, ..VerbsPlan::new(params) };
    let pages = VerbsPlan { page_bytes: 4_096, keys: 3 << 20, ops: 150_000, ..base() };
    let regions = VerbsPlan { regions: 8_192, keys: 1 << 20, ..base() };
    let contexts = VerbsPlan { sharing: Sharing::Many(256), ..base() };
    let requests = VerbsPlan { op: RawOp::Write, threads: 8, outstanding: 384, ..base() };
    [
        ("ours: READs of 192 MB in pages of 4 KB", pages),
        ("ours: READs of 8,192 regions", regions),
        ("ours: READs on 4,096 queue pairs", contexts),
        ("ours: 3,072 WRITEs outstanding", requests),
    ]
}

/// What a curve's points are in the model.
type Curves = Vec<(String, Vec<f64>)>;

impl Calibration {
    /// What each parameter of the presets named, or of all, does to all experiments on its adapter,
    /// those that are predicted included, and to a few of ours. `progress` is told parameters done,
    /// and of how many.
    #[must_use]
    pub fn sensitivities(
        &self,
        only: &[String],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Vec<Sensitivity> {
        let wanted =
            |preset: &&Preset| only.is_empty() || only.iter().any(|name| name == preset.name);
        let presets: Vec<&Preset> = self.presets.iter().filter(wanted).collect();
        let total = (presets.len() * Params::SPECS.len()) as u64;
        let mut done = 0;
        let mut all = Vec::new();
        for preset in presets {
            let jobs = self.jobs(preset.name, |_| true);
            let base = self.curves(&jobs, &preset.params);
            for spec in Params::SPECS {
                progress(done, total);
                done += 1;
                all.push(self.sensitivity(preset, spec, &jobs, &base));
            }
        }
        all
    }

    fn sensitivity(
        &self,
        preset: &Preset,
        spec: &Spec,
        jobs: &[Job],
        base: &Curves,
    ) -> Sensitivity {
        let value = preset.params.get(spec.name).unwrap_or(0.0);
        let mut moved = [None, None];
        let mut curves = vec![false; base.len()];
        for (factor, most) in [2.0, 0.5].into_iter().zip(&mut moved) {
            let mut params = preset.params.clone();
            // Some cannot be doubled, or are as small as they can be.
            if params.set(spec.name, value * factor).is_err() {
                continue;
            }
            for ((at, (series, before)), (_, after)) in
                base.iter().enumerate().zip(self.curves(jobs, &params))
            {
                let ratio = mean_ratio(before, &after);
                if (ratio - 1.0).abs() < NOTHING {
                    continue;
                }
                curves[at] = true;
                let is_most = most
                    .as_ref()
                    .is_none_or(|most: &Moved| most.ratio.ln().abs() < ratio.ln().abs());
                if is_most {
                    *most = Some(Moved { series: series.clone(), ratio });
                }
            }
        }
        let [doubled, halved] = moved;
        let curves = curves.into_iter().filter(|moves| *moves).count();
        Sensitivity { preset: preset.name, parameter: spec.name, value, doubled, halved, curves }
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
        let own = own_plans(params).into_par_iter().map(|(name, plan)| {
            let rate = verbs::run(&plan, SEED, &mut |_| {}).map(|run| run.measured.ops_per_s);
            (name.to_owned(), vec![rate.unwrap_or(f64::NAN)])
        });
        curves.extend(own.collect::<Vec<_>>());
        curves
    }
}

fn mean_ratio(before: &[f64], after: &[f64]) -> f64 {
    let logs = before.iter().zip(after).map(|(before, after)| (after / before).ln());
    (logs.sum::<f64>() / before.len().max(1) as f64).exp()
}

/// For people: a line for each parameter, those that move nothing last.
#[must_use]
pub fn render_text(all: &[Sensitivity]) -> String {
    let mut text = String::new();
    let mut silent = Vec::new();
    for one in all {
        let Sensitivity { preset, parameter, value, doubled, halved, curves } = one;
        if *curves == 0 {
            silent.push(format!("{preset}: {parameter}"));
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{preset}  {parameter} = {value}: moves {curves} curves");
        for (how, moved) in [("doubled", doubled), ("halved ", halved)] {
            if let Some(Moved { series, ratio }) = moved {
                let _ = writeln!(text, "    {how}  {:+7.1} %  {series}", (ratio - 1.0) * 100.0);
            }
        }
    }
    let _ = writeln!(text, "\nmove no curve: {}", silent.join(", "));
    text
}
