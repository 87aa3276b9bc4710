//! Round numbers for the time axis.

/// A place on the axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// Where, as a share of the span.
    pub(super) share: f64,
    /// What is written there, in ms.
    pub(super) label: String,
}

/// Three to seven round numbers from 0 to `span_ms`, which must be finite and above 0.
///
/// Works on decimal text instead of logarithms, whose last digit is not the same everywhere.
pub(super) fn ticks(span_ms: f64) -> Vec<Tick> {
    let text = format!("{span_ms:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa: f64 = mantissa.parse().unwrap_or(1.0);
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let tenths = match mantissa {
        m if m < 1.25 => 2,
        m if m < 2.5 => 5,
        m if m < 6.0 => 10,
        _ => 20,
    };
    let mut ticks = Vec::new();
    for count in 0..8 {
        let value = format!("{}e{}", count * tenths, exponent - 1).parse().unwrap_or(f64::INFINITY);
        if value > span_ms {
            break;
        }
        let last_digit = if tenths < 10 { exponent - 1 } else { exponent };
        ticks.push(Tick { share: value / span_ms, label: label(value, exponent, last_digit) });
    }
    ticks
}

/// `value` with digits down to 10 to the power of `last_digit`; `exponent` is that of the span.
fn label(value: f64, exponent: i32, last_digit: i32) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if (-4..6).contains(&exponent) {
        format!("{value:.*}", usize::try_from(-last_digit).unwrap_or(0))
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(span_ms: f64) -> String {
        ticks(span_ms).into_iter().map(|tick| tick.label).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn round_numbers() {
        assert_eq!(labels(1.0), "0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(labels(20.0), "0 5 10 15 20");
        assert_eq!(labels(0.0371), "0 0.01 0.02 0.03");
        assert_eq!(labels(7_200.0), "0 2000 4000 6000");
        assert_eq!(labels(0.000_001), "0 2e-7 4e-7 6e-7 8e-7 1e-6");
        assert_eq!(labels(f64::MAX), "0 5e307 1e308 1.5e308");
    }

    #[test]
    fn always_a_few_and_inside() {
        for exponent in -6..308 {
            for mantissa in 10..100 {
                let span = format!("{mantissa}e{}", exponent - 1).parse().unwrap();
                let ticks = ticks(span);
                assert!((3..=7).contains(&ticks.len()), "{span:e}: {}", ticks.len());
                assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&tick.share)), "{span:e}");
            }
        }
    }
}
