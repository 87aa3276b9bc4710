//! How a page shows numbers, and how it keeps them.

use crate::style::grouped;

/// A number is shown with this many digits, unless it is a whole one.
const DIGITS: i32 = 4;
/// From here on, and below the other one, digits would hide behind zeros.
const LARGE: f64 = 1e15;
const SMALL: f64 = 1e-4;

/// A finite number as people read it.
pub(super) fn shown(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        return "0".to_owned();
    }
    if !(SMALL..LARGE).contains(&size) {
        return scientific(number);
    }
    let exact = size.to_string();
    let digits = if significant(&exact) <= DIGITS || number.fract() == 0.0 {
        exact
    } else {
        // Rounding may give one more digit before the point, as in 9.9996: 10.00 is as good.
        let whole_digits = size.log10().floor() as i32 + 1;
        let decimals = (DIGITS - whole_digits).max(0) as usize;
        format!("{size:.decimals$}")
    };
    let sign = if number < 0.0 { "-" } else { "" };
    format!("{sign}{}", in_groups(&digits))
}

/// A finite number with all its digits, as programs read it.
pub(super) fn kept(number: f64) -> String {
    if number == 0.0 || (SMALL..LARGE).contains(&number.abs()) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

fn scientific(number: f64) -> String {
    let exact = format!("{number:e}");
    let mantissa = exact.split('e').next().unwrap_or_default();
    if significant(mantissa) <= DIGITS { exact } else { format!("{number:.3e}") }
}

/// How many digits there are from the first that is not 0.
fn significant(digits: &str) -> i32 {
    let all = digits.chars().filter(char::is_ascii_digit);
    all.skip_while(|&digit| digit == '0').count() as i32
}

fn in_groups(digits: &str) -> String {
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    match whole.parse() {
        Ok(whole) => format!("{}{rest}", grouped(whole)),
        Err(_) => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_are_shown() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (2.0, "2"),
            (64.5, "64.5"),
            (20.042_257_652_668_823, "20.04"),
            (-20.042_257_652_668_823, "-20.04"),
            (0.047_175_445_762_644_1, "0.04718"),
            (1.0 / 3.0, "0.3333"),
            (9.999_96, "10.000"),
            (999.999, "1,000.0"),
            (1_023.96, "1,024"),
            (26_164.333, "26,164"),
            (1_234_567.0, "1,234,567"),
            (999_999_999_999_999.0, "999,999,999,999,999"),
            (1e15, "1e15"),
            (-1.234_567e100, "-1.235e100"),
            (0.000_1, "0.0001"),
            (0.000_099, "9.9e-5"),
            (5e-324, "5e-324"),
        ];
        for (number, want) in cases {
            assert_eq!(shown(number), want, "{number:e}");
        }
    }

    #[test]
    fn all_digits_are_kept() {
        let numbers = [0.0, 0.1 + 0.2, -2.0, 1e15, 1.234_567_890_123e100, 5e-324, f64::MAX];
        for number in numbers {
            let kept = kept(number);
            assert_eq!(kept.parse(), Ok(number), "{kept}");
            assert!(kept.len() < 25, "{kept}");
        }
    }
}
