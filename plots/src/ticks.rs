//! Round numbers for axes.
//!
//! Works on decimal text instead of logarithms, whose last digit is not the same everywhere.

use crate::style;

/// A place on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    /// Where.
    pub(crate) value: f64,
    /// What is written there; nothing at ticks between those that count.
    pub(crate) label: String,
}

/// `digits` times 10 to the power of `exponent`.
fn decimal(digits: i64, exponent: i32) -> f64 {
    format!("{digits}e{exponent}").parse().unwrap_or(f64::INFINITY)
}

/// The power of ten that begins the digits of a number.
fn exponent(number: f64) -> i32 {
    let text = format!("{number:e}");
    text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

/// At most `most` numbers from `low` to `high`, equally far apart by 1, 2 or 5 times a power of
/// ten. Both ends must be finite, `low` below `high`, and their distance not tiny beside them.
pub(crate) fn linear(low: f64, high: f64, most: usize) -> Vec<Tick> {
    let first = exponent(high - low) - 2;
    let steps = (first..first + 5).flat_map(|e| [1, 2, 5].map(|digit| (digit, e)));
    for (digit, e) in steps {
        let step = decimal(digit, e);
        let (from, to) = ((low / step).ceil(), (high / step).floor());
        if step > 0.0 && to - from < most as f64 {
            let values: Vec<f64> =
                (from as i64..=to as i64).map(|count| decimal(count * digit, e)).collect();
            return labelled(&values, e);
        }
    }
    Vec::new()
}

/// Ticks at values with no digit below 10 to the power of `last`.
fn labelled(values: &[f64], last: i32) -> Vec<Tick> {
    let largest = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let label = |value: f64| linear_label(value, largest, last);
    values.iter().map(|&value| Tick { value, label: label(value) }).collect()
}

/// What stands for a thousand, a million, and so on.
const SUFFIXES: [(i32, &str); 4] = [(12, "T"), (9, "G"), (6, "M"), (3, "k")];

fn linear_label(value: f64, largest: f64, last: i32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if last < -4 || largest >= 1e15 {
        return format!("{value:e}");
    }
    if largest < 1e5 {
        return grouped(value, usize::try_from(-last).unwrap_or(0));
    }
    let size = exponent(largest);
    let (power, suffix) = SUFFIXES.into_iter().find(|(power, _)| *power <= size).unwrap_or((0, ""));
    let digits = usize::try_from(power - last).unwrap_or(0);
    format!("{}{suffix}", grouped(value / decimal(1, power), digits))
}

/// A number with this many digits behind the point, and those before it in groups of three.
pub(crate) fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", number.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), style::grouped);
    format!("{}{whole}{rest}", if number < 0.0 { "−" } else { "" })
}

/// At most `most` labelled numbers from `low` to `high`, both above 0, for a logarithmic axis:
/// powers of two if `binary`, else powers of ten, and multiples of them where there are few.
pub(crate) fn log(low: f64, high: f64, most: usize, binary: bool) -> Vec<Tick> {
    let inside = |values: Vec<f64>| -> Vec<f64> {
        values.into_iter().filter(|value| (low..=high).contains(value)).collect()
    };
    let decades = exponent(low)..=exponent(high);
    let multiples = |digits: &[i64]| {
        let all = decades.clone().flat_map(|e| digits.iter().map(move |digit| decimal(*digit, e)));
        inside(all.collect())
    };
    if binary {
        let powers = inside((0..63).map(|e| (1_u64 << e) as f64).collect());
        let every = powers.len().div_ceil(most.max(1)).max(1);
        return powers.into_iter().step_by(every).map(log_tick).collect();
    }
    for digits in [&[1, 2, 3, 5, 7][..], &[1, 2, 5]] {
        let values = multiples(digits);
        if (3..=most).contains(&values.len()) {
            return values.into_iter().map(log_tick).collect();
        }
    }
    let powers = multiples(&[1]);
    if powers.len() < 2 {
        return linear(low, high, most);
    }
    let every = powers.len().div_ceil(most.max(1));
    let mut ticks: Vec<Tick> = powers.into_iter().step_by(every).map(log_tick).collect();
    if every == 1 {
        let between = multiples(&[2, 3, 4, 5, 6, 7, 8, 9]);
        ticks.extend(between.into_iter().map(|value| Tick { value, label: String::new() }));
    }
    ticks
}

fn log_tick(value: f64) -> Tick {
    let label = if !(1e-4..1e15).contains(&value) {
        format!("{value:e}")
    } else if value < 1_000.0 {
        format!("{value}")
    } else {
        let size = exponent(value);
        let found = SUFFIXES.into_iter().find(|(power, _)| *power <= size);
        let (power, suffix) = found.unwrap_or((0, ""));
        let short = value / decimal(1, power);
        // Powers of two have many digits: 4,096 says more than 4.096k.
        if (short * 10.0).fract() == 0.0 { format!("{short}{suffix}") } else { grouped(value, 0) }
    };
    Tick { value, label }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> String {
        let labels: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        labels.join(" ")
    }

    #[test]
    fn round_numbers() {
        let from_0 = |high| labels(&linear(0.0, high, 7));
        assert_eq!(from_0(1.0), "0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(from_0(20.0), "0 5 10 15 20");
        assert_eq!(from_0(0.0371), "0 0.01 0.02 0.03");
        assert_eq!(from_0(7_200.0), "0 2,000 4,000 6,000");
        assert_eq!(from_0(99_999.0), "0 20,000 40,000 60,000 80,000");
        assert_eq!(from_0(700_000.0), "0 200k 400k 600k");
        assert_eq!(from_0(2_600_000.0), "0 0.5M 1.0M 1.5M 2.0M 2.5M");
        assert_eq!(from_0(0.000_001), "0 2e-7 4e-7 6e-7 8e-7 1e-6");
        assert_eq!(from_0(1e300), "0 2e299 4e299 6e299 8e299 1e300");
        assert_eq!(labels(&linear(-1_500.0, 990.0, 6)), "−1,500 −1,000 −500 0 500");
        assert_eq!(labels(&linear(1_000.2, 1_001.0, 5)), "1,000.2 1,000.4 1,000.6 1,000.8 1,001.0");
    }

    #[test]
    fn always_a_few_and_inside() {
        for exponent in -300..300 {
            for mantissa in 10..100 {
                let span = decimal(mantissa, exponent - 1);
                let ticks = linear(0.0, span, 7);
                assert!((3..=7).contains(&ticks.len()), "{span:e}: {}", ticks.len());
                assert!(ticks.iter().all(|tick| (0.0..=span).contains(&tick.value)), "{span:e}");
            }
        }
    }

    #[test]
    fn powers_and_their_multiples() {
        assert_eq!(labels(&log(1.0, 100.0, 8, false)), "1 2 5 10 20 50 100");
        assert_eq!(labels(&log(0.9, 9.0, 8, false)), "1 2 3 5 7");
        assert_eq!(labels(&log(0.001, 1.0, 3, false)), "0.001 0.1");
        let decades = log(0.5, 2e6, 8, false);
        let named: Vec<Tick> =
            decades.iter().filter(|tick| !tick.label.is_empty()).cloned().collect();
        assert_eq!(labels(&named), "1 10 100 1k 10k 100k 1M");
        assert!(decades.iter().any(|tick| tick.value == 30_000.0 && tick.label.is_empty()));
        assert_eq!(
            labels(&log(1.0, 4_096.0, 13, true)),
            "1 2 4 8 16 32 64 128 256 512 1,024 2,048 4,096"
        );
        assert_eq!(labels(&log(1.0, 4_096.0, 5, true)), "1 8 64 512 4,096");
        assert_eq!(labels(&log(41.0, 44.0, 5, false)), "41 42 43 44");
    }
}
