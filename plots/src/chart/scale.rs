//! From numbers to places along an axis.

use super::{Axis, Panel, Scale};
use crate::ticks::{self, Tick};

/// Share of an axis that stays free beyond the outermost data.
const PAD: f64 = 0.05;

/// The two axes of a panel.
#[derive(Debug, Clone)]
pub(super) struct Scales {
    /// Along.
    pub(super) x: Range,
    /// Up.
    pub(super) y: Range,
}

impl Scales {
    /// Spans the data of a panel.
    pub(super) fn new(panel: &Panel) -> Self {
        let points = || panel.series.iter().flat_map(|series| &series.points);
        let marks = panel.marks.iter().map(|mark| mark.x);
        let x = points().map(|point| point.x).chain(marks);
        let y = points().flat_map(|point| [point.low, point.high]);
        Self { x: Range::new(&panel.x, x), y: Range::new(&panel.y, y) }
    }
}

/// The part of an axis that is drawn.
#[derive(Debug, Clone)]
pub(super) struct Range {
    scale: Scale,
    /// The ends, as lengths: see [`Range::length`].
    low: f64,
    high: f64,
    /// Whether all numbers are powers of two.
    binary: bool,
}

impl Range {
    fn new(axis: &Axis, values: impl Iterator<Item = f64> + Clone) -> Self {
        let scale = axis.scale.clone();
        if let Scale::Words(words) = &scale {
            let high = words.len() as f64 - 0.5;
            return Self { scale, low: -0.5, high, binary: false };
        }
        let binary = values.clone().all(|value| value >= 1.0 && is_power_of_two(value));
        let mut range = Self { scale, low: 0.0, high: 0.0, binary };
        let zero = (axis.from_zero && axis.scale == Scale::Linear).then_some(0.0);
        let lengths: Vec<f64> = values.chain(zero).map(|value| range.length(value)).collect();
        if lengths.is_empty() {
            range.high = 1.0;
            return range;
        }
        let (low, high) = lengths
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
        // Numbers that hardly differ get an axis around them, on which they lie side by side.
        let narrow = high - low <= 1e-9 * low.abs().max(high.abs());
        let pad = if narrow { (high.abs() * 0.1).max(0.5) } else { (high - low) * PAD };
        let kept = |end: f64| zero == Some(end);
        range.low = if kept(low) { low } else { low - pad };
        range.high = if kept(high) && high > low { high } else { high + pad };
        range
    }

    /// How far along its axis a number is, in a measure of its own.
    fn length(&self, value: f64) -> f64 {
        if self.scale == Scale::Log { libm::log2(value) } else { value }
    }

    /// The share of the axis that lies before `value`.
    pub(super) fn share(&self, value: f64) -> f64 {
        (self.length(value) - self.low) / (self.high - self.low)
    }

    /// At most about `most` ticks.
    pub(super) fn ticks(&self, most: usize) -> Vec<Tick> {
        match &self.scale {
            Scale::Linear => ticks::linear(self.low, self.high, most),
            Scale::Log => {
                let (low, high) = (libm::exp2(self.low), libm::exp2(self.high));
                ticks::log(low, high, most, self.binary)
            }
            Scale::Words(words) => {
                let named = |(value, word): (u32, &String)| Tick {
                    value: f64::from(value),
                    label: word.clone(),
                };
                (0..).zip(words).map(named).collect()
            }
        }
    }
}

fn is_power_of_two(value: f64) -> bool {
    libm::frexp(value).0 == 0.5
}
