//! Student's t: how sure a mean of few values is.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The quantile of Student's t with so many degrees of freedom; infinite with none.
pub(crate) fn quantile(freedom: usize, share: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom as f64) {
        Ok(distribution) => distribution.inverse_cdf(share),
        Err(_) => f64::INFINITY,
    }
}

/// How likely values with a mean of 0 are to have a mean at least as far from 0 as these have: 1
/// where there are too few to tell.
pub(crate) fn p_of_zero(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let Ok(distribution) = StudentsT::new(0.0, 1.0, n - 1.0) else { return 1.0 };
    match (squares / (n - 1.0) / n).sqrt() {
        0.0 if mean == 0.0 => 1.0,
        0.0 => 0.0,
        error => 2.0 * distribution.cdf(-(mean / error).abs()),
    }
}

/// Of many p-values those that hold all together with a chance of error below `level` (Holm 1979).
pub(crate) fn holm(p_values: &[f64], level: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut holds = vec![false; p_values.len()];
    for (rank, number) in order.into_iter().enumerate() {
        if p_values[number] * (p_values.len() - rank) as f64 > level {
            break;
        }
        holds[number] = true;
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::{holm, p_of_zero, quantile};

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [(1, 12.706), (2, 4.303), (10, 2.228), (30, 2.042)] {
            assert!((quantile(freedom, 0.975) - expected).abs() < 5e-4, "{freedom}");
        }
    }

    #[test]
    fn a_mean_at_the_edge_of_its_interval_is_5_per_cent_likely() {
        // Three values with mean m and standard error 1/sqrt(3): t = m * sqrt(3).
        let at = 4.302_652_7 / 3.0_f64.sqrt();
        assert!((p_of_zero(&[at - 1.0, at, at + 1.0]) - 0.05).abs() < 1e-6);
        assert_eq!((p_of_zero(&[2.0]), p_of_zero(&[0.0; 3])), (1.0, 1.0));
        // Their mean is not to the last bit what they are, nor is their spread 0.
        assert!(p_of_zero(&[0.1; 3]) < 1e-9);
    }

    #[test]
    fn of_many_tests_fewer_hold() {
        assert_eq!(holm(&[0.04], 0.05), [true]);
        assert_eq!(holm(&[0.04, 0.01, 0.6], 0.05), [false, true, false]);
        assert_eq!(holm(&[0.02, 0.01], 0.05), [true, true]);
    }
}
