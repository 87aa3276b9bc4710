//! Two results, point by point: ratios, and whether they are more than chance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::Metric;
use crate::statistics::{holm, p_of_zero, quantile};

/// Chance of an error in all that is said to differ.
const LEVEL: f64 = 0.05;

/// Places on axes, by name.
pub type At = BTreeMap<String, String>;

/// A row of `results.jsonl`.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    at: At,
    seed: u64,
    status: String,
    metrics: BTreeMap<String, f64>,
}

/// Results of a sweep: what each run showed, by point and seed.
#[derive(Clone, Debug, Default)]
pub struct ResultSet {
    points: BTreeMap<At, BTreeMap<u64, BTreeMap<String, f64>>>,
    /// Runs that failed or broke a rule, and are left out.
    pub left_out: usize,
}

/// A point of two results.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Compared {
    /// Places on the axes.
    pub at: At,
    /// What is compared.
    pub metric: String,
    /// Seeds that both have.
    pub seeds: usize,
    /// Mean of the first.
    pub a: f64,
    /// Mean of the second.
    pub b: f64,
    /// The second over the first: geometric mean over the seeds that both have; none where one of
    /// them is 0.
    pub ratio: Option<f64>,
    /// Its 95 % confidence interval (Student's t of the logarithms, seed by seed); none for one
    /// seed.
    pub ci95: Option<[f64; 2]>,
    /// `same`, `better` or `worse`.
    pub verdict: Verdict,
}

/// What a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No more than chance or tolerance.
    Same,
    /// The second is better.
    Better,
    /// The second is worse.
    Worse,
}

/// What two results show.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Comparison {
    /// All points, metric by metric.
    pub points: Vec<Compared>,
    /// Points of the first that the second has not.
    pub only_a: Vec<At>,
    /// Points of the second that the first has not.
    pub only_b: Vec<At>,
    /// Runs that are left out because they failed or broke a rule, of the first and the second.
    pub left_out: [usize; 2],
}

impl ResultSet {
    /// Reads a folder of results, whichever program made it.
    ///
    /// # Errors
    /// When there are none, or they are damaged.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("results.jsonl");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}: is {} of a finished sweep?", path.display(), dir.display())
        })?;
        let mut set = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line: Line = serde_json::from_str(line)
                .with_context(|| format!("{}:{number} is damaged", path.display()))?;
            match line.status.as_str() {
                "ok" => {
                    set.points.entry(line.at).or_default().insert(line.seed, line.metrics);
                }
                _ => set.left_out += 1,
            }
        }
        Ok(set)
    }

    /// Those of its points that are at one place of an axis, without that axis.
    ///
    /// # Errors
    /// When there are none.
    pub fn at(&self, axis: &str, place: &str) -> anyhow::Result<Self> {
        let mut set = Self { points: BTreeMap::new(), left_out: self.left_out };
        for (at, seeds) in &self.points {
            if at.get(axis).is_some_and(|at| at == place) {
                let mut at = at.clone();
                at.remove(axis);
                set.points.insert(at, seeds.clone());
            }
        }
        ensure!(
            !set.points.is_empty(),
            "no point has {axis} = {place}; there are {}",
            self.places(axis)
        );
        Ok(set)
    }

    /// What there is along an axis, for messages.
    fn places(&self, axis: &str) -> String {
        let places: BTreeSet<&String> = self.points.keys().filter_map(|at| at.get(axis)).collect();
        match places.is_empty() {
            true => {
                let axes: BTreeSet<&String> = self.points.keys().flat_map(BTreeMap::keys).collect();
                format!("axes {axes:?}")
            }
            false => format!("{places:?}"),
        }
    }

    /// Names of throughput and of 99th percentiles, which are compared if nobody says what.
    #[must_use]
    pub fn usual_metrics(&self) -> Vec<String> {
        let seeds = self.points.values().flat_map(BTreeMap::values);
        let names: BTreeSet<&String> = seeds.flat_map(BTreeMap::keys).collect();
        let is_usual = |name: &str| name == "kops" || name.starts_with("p99_us");
        names.into_iter().filter(|name| is_usual(name)).cloned().collect()
    }
}

impl Comparison {
    /// Compares metrics of two results. Differences up to the tolerance, a share, do not count.
    ///
    /// # Errors
    /// When the two have no point in common, or not with these metrics.
    pub fn new(
        a: &ResultSet,
        b: &ResultSet,
        metrics: &[String],
        tolerance: f64,
    ) -> anyhow::Result<Self> {
        let mut points = Vec::new();
        let mut p_values = Vec::new();
        for metric in metrics {
            for (at, of_a) in &a.points {
                let Some(of_b) = b.points.get(at) else { continue };
                let values: Vec<(f64, f64)> = of_a
                    .iter()
                    .filter_map(|(seed, a)| Some((*a.get(metric)?, *of_b.get(seed)?.get(metric)?)))
                    .collect();
                if !values.is_empty() {
                    let (point, p) = compare(at, metric, &values);
                    points.push(point);
                    p_values.push(p);
                }
            }
        }
        ensure!(
            !points.is_empty(),
            "nothing to compare: the two have no point with a seed and {} in common",
            metrics.join(", ")
        );
        for (point, is_sure) in points.iter_mut().zip(holm(&p_values, LEVEL)) {
            point.verdict = verdict(point, is_sure, tolerance);
        }
        let only = |of: &ResultSet, other: &ResultSet| {
            of.points.keys().filter(|at| !other.points.contains_key(*at)).cloned().collect()
        };
        Ok(Self {
            points,
            only_a: only(a, b),
            only_b: only(b, a),
            left_out: [a.left_out, b.left_out],
        })
    }
}

/// One point, and how likely it is that its difference is chance; of a single seed nobody knows,
/// and the tolerance alone decides.
fn compare(at: &At, metric: &str, values: &[(f64, f64)]) -> (Compared, f64) {
    let n = values.len();
    let mean = |of: fn(&(f64, f64)) -> f64| values.iter().map(of).sum::<f64>() / n as f64;
    let (a, b) = (mean(|(a, _)| *a), mean(|(_, b)| *b));
    let logs: Option<Vec<f64>> =
        values.iter().map(|(a, b)| (*a > 0.0 && *b > 0.0).then(|| (b / a).ln())).collect();
    let mut point = Compared {
        at: at.clone(),
        metric: metric.to_owned(),
        seeds: n,
        a,
        b,
        ratio: None,
        ci95: None,
        verdict: Verdict::Same,
    };
    let Some(logs) = logs else {
        // Zeros have no ratio; two of them are equal.
        point.ratio = (a == b).then_some(1.0);
        return (point, if a == b { 1.0 } else { 0.0 });
    };
    let log = logs.iter().sum::<f64>() / n as f64;
    point.ratio = Some(log.exp());
    if n < 2 {
        return (point, 0.0);
    }
    let variance = logs.iter().map(|l| (l - log).powi(2)).sum::<f64>() / (n - 1) as f64;
    let half = quantile(n - 1, 0.975) * (variance / n as f64).sqrt();
    point.ci95 = Some([(log - half).exp(), (log + half).exp()]);
    (point, p_of_zero(&logs))
}

fn verdict(point: &Compared, is_sure: bool, tolerance: f64) -> Verdict {
    let is_more = point.b > point.a;
    let is_far = point.ratio.is_none_or(|ratio| (ratio - 1.0).abs() > tolerance);
    match (is_sure && is_far, is_more == Metric::more_is_better(&point.metric)) {
        (false, _) => Verdict::Same,
        (true, true) => Verdict::Better,
        (true, false) => Verdict::Worse,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Comparison, ResultSet, Verdict};

    /// A result with one axis: values of a metric by place and seed.
    fn set(metric: &str, points: &[(&str, &[f64])]) -> ResultSet {
        let point = |(place, values): &(&str, &[f64])| {
            let at = BTreeMap::from([("x".to_owned(), (*place).to_owned())]);
            let seeds = (1..).zip(*values);
            let seeds = seeds.map(|(seed, v)| (seed, BTreeMap::from([(metric.to_owned(), *v)])));
            (at, seeds.collect())
        };
        ResultSet { points: points.iter().map(point).collect(), left_out: 0 }
    }

    fn verdicts(metric: &str, a: &[(&str, &[f64])], b: &[(&str, &[f64])]) -> Vec<Verdict> {
        let (a, b) = (set(metric, a), set(metric, b));
        let compared = Comparison::new(&a, &b, &[metric.to_owned()], 0.01).unwrap();
        compared.points.iter().map(|point| point.verdict).collect()
    }

    #[test]
    fn seeds_are_compared_one_by_one() {
        // Seeds differ more among themselves than the two results do: only in pairs it is seen.
        let a: &[f64] = &[100.0, 150.0, 200.0];
        let b: &[f64] = &[110.0, 165.0, 220.1];
        assert_eq!(verdicts("kops", &[("1", a)], &[("1", b)]), [Verdict::Better]);
        assert_eq!(verdicts("p99_us", &[("1", a)], &[("1", b)]), [Verdict::Worse]);
        assert_eq!(verdicts("kops", &[("1", a)], &[("1", a)]), [Verdict::Same]);
        let noise: &[f64] = &[110.0, 140.0, 205.0];
        assert_eq!(verdicts("kops", &[("1", a)], &[("1", noise)]), [Verdict::Same]);
    }

    #[test]
    fn one_seed_and_zeros_have_an_answer_too() {
        assert_eq!(verdicts("kops", &[("1", &[100.0])], &[("1", &[100.5])]), [Verdict::Same]);
        assert_eq!(verdicts("kops", &[("1", &[100.0])], &[("1", &[90.0])]), [Verdict::Worse]);
        assert_eq!(verdicts("lost", &[("1", &[0.0])], &[("1", &[0.0])]), [Verdict::Same]);
        assert_eq!(verdicts("lost", &[("1", &[0.0])], &[("1", &[2.0])]), [Verdict::Worse]);
    }

    #[test]
    fn what_has_no_partner_is_named() {
        let (a, b) = (set("kops", &[("1", &[1.0]), ("2", &[1.0])]), set("kops", &[("2", &[1.0])]));
        let compared = Comparison::new(&a, &b, &["kops".to_owned()], 0.0).unwrap();
        assert_eq!(
            (compared.points.len(), compared.only_a.len(), compared.only_b.len()),
            (1, 1, 0)
        );
        let other = set("mops", &[("1", &[1.0])]);
        assert!(Comparison::new(&a, &other, &["kops".to_owned()], 0.0).is_err());
    }
}
