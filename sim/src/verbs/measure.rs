//! What is measured of a run: without its warm-up, with the spread between seeds.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{PARTS, Part};
use crate::event::{NS, Ps};
use crate::statistics::quantile;

/// Intervals that a run is cut into to find its warm-up.
const INTERVALS: u64 = 100;

/// The ends of operations, in the order of time.
pub(super) struct Samples {
    per_interval: u64,
    ended: Vec<(Ps, Ps)>,
    /// Sums of parts by interval.
    parts: Vec<[Ps; PARTS]>,
}

impl Samples {
    pub(super) fn new(ops: u64) -> Self {
        let per_interval = ops.div_ceil(INTERVALS).max(1);
        Self { per_interval, ended: Vec::with_capacity(ops as usize), parts: Vec::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.ended.len() as u64
    }

    pub(super) fn add(&mut self, now: Ps, latency: Ps, parts: &[Ps; PARTS]) {
        self.add_parts(parts);
        self.ended.push((now, latency));
    }

    /// Time of an operation that is part of one that has not ended.
    pub(super) fn add_parts(&mut self, parts: &[Ps; PARTS]) {
        let interval = (self.len() / self.per_interval) as usize;
        if self.parts.len() <= interval {
            self.parts.resize(interval + 1, [0; PARTS]);
        }
        self.parts[interval].iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
    }

    /// Intervals at the start that are not like the rest: as many as make the standard error of
    /// what is left smallest (MSER, White 1997), half of the run at most.
    fn warm_up(&self) -> usize {
        let rates = self.interval_times();
        let spread = |skip: usize| {
            let rest = &rates[skip..];
            let n = rest.len() as f64;
            let mean = rest.iter().sum::<f64>() / n;
            rest.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (n * n)
        };
        let half = rates.len() / 2;
        (0..=half)
            .min_by(|a, b| spread(*a).total_cmp(&spread(*b)))
            .filter(|_| rates.len() > 2)
            .unwrap_or(0)
    }

    /// How long each whole interval took.
    fn interval_times(&self) -> Vec<f64> {
        let mut before = 0;
        let ends = self.ended.chunks_exact(self.per_interval as usize);
        ends.map(|chunk| {
            let end = chunk.last().map_or(before, |(time, _)| *time);
            let time = (end - before) as f64;
            before = end;
            time
        })
        .collect()
    }

    /// What is to be reported.
    pub(super) fn measure(&self) -> Measured {
        let skip = self.warm_up();
        // The last operations run when others have stopped: the end of the last whole interval of
        // a tenth less is where everybody still works.
        let whole = self.interval_times().len();
        let last = (whole - whole / 10).max(skip + 1).min(whole.max(1));
        let range = skip * self.per_interval as usize..last * self.per_interval as usize;
        let kept = self.ended.get(range.clone()).unwrap_or(&self.ended);
        let begin = match range.start {
            0 => 0,
            start => self.ended.get(start - 1).map_or(0, |(time, _)| *time),
        };
        let end = kept.last().map_or(begin, |(time, _)| *time);
        let seconds = (end - begin) as f64 * 1e-12;
        let mut latency = Histogram::new(3).expect("3 digits are allowed");
        for (_, time) in kept {
            // It grows as needed: there is no greatest value that it refuses.
            let _ = latency.record((time / NS).max(1));
        }
        let mut parts = [0.0; PARTS];
        for interval in self.parts.get(skip..last).unwrap_or(&self.parts) {
            parts.iter_mut().zip(interval).for_each(|(sum, part)| *sum += *part as f64);
        }
        let count = kept.len().max(1) as f64;
        Measured {
            ops: kept.len() as u64,
            warm_up_ops: range.start as u64,
            ops_per_s: if seconds > 0.0 { count / seconds } else { 0.0 },
            mean_ns: kept.iter().map(|(_, time)| *time as f64).sum::<f64>() / count / NS as f64,
            latency,
            parts_ns: parts.map(|sum| sum / count / NS as f64),
        }
    }
}

/// What one run showed, without its warm-up.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Operations that count.
    pub ops: u64,
    /// Operations before them.
    pub warm_up_ops: u64,
    /// Throughput.
    pub ops_per_s: f64,
    /// Mean latency, ns.
    pub mean_ns: f64,
    /// Latencies, ns.
    pub latency: Histogram<u64>,
    /// Where the time of an operation went on average, ns, in the order of [`Part::ALL`].
    pub parts_ns: [f64; PARTS],
}

/// A mean over seeds, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of its 95 % confidence interval (Student's t); 0 for a single run.
    pub ci95: f64,
}

impl Estimate {
    /// Of the values of several runs.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        if values.len() < 2 {
            return Self { mean, ci95: 0.0 };
        }
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self { mean, ci95: quantile(values.len() - 1, 0.975) * (variance / n).sqrt() }
    }
}

/// Names of [`Measured::parts_ns`].
#[must_use]
pub fn part_names() -> [&'static str; PARTS] {
    Part::ALL.map(Part::name)
}

#[cfg(test)]
mod tests {
    use super::{Estimate, PARTS, Samples};

    #[test]
    fn a_slow_start_does_not_count() {
        let mut samples = Samples::new(10_000);
        let mut now = 0;
        for op in 0..10_000u64 {
            now += if op < 1_500 { 900_000 } else { 100_000 + op % 7 };
            samples.add(now, 50_000, &[1_000; PARTS]);
        }
        let measured = samples.measure();
        assert!(measured.warm_up_ops >= 1_500, "{}", measured.warm_up_ops);
        assert!((measured.ops_per_s / 1e7 - 1.0).abs() < 0.001, "{}", measured.ops_per_s);
        assert_eq!(measured.parts_ns, [1.0; PARTS]);
        assert_eq!(measured.latency.value_at_quantile(0.5), 50);
    }

    #[test]
    fn a_spread_makes_an_interval() {
        let estimate = Estimate::of(&[9.0, 10.0, 11.0]);
        assert_eq!(estimate.mean, 10.0);
        assert!((estimate.ci95 - 4.302_652_73 / 3f64.sqrt()).abs() < 1e-7);
    }
}
