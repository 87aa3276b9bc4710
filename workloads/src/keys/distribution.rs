//! How often each record is asked for.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Zipf};

/// Most records a chooser takes: above this, `f64` no longer tells neighbours apart.
pub const RECORDS_MAX: u64 = 1 << 53;

/// Records that YCSB's scrambled Zipf draws from before it folds them onto the real ones
/// (`ScrambledZipfianGenerator.ITEM_COUNT`).
const SCRAMBLED_RECORDS: f64 = 1e10;

/// Exponents as near to 1 as this are taken for 1: the sampler's formula for others divides by
/// the difference. No probability changes by more than 1 part in 10^4.
const NEAR_ONE: f64 = 1e-6;

/// A distribution over the records `0..records`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyDistribution {
    /// All alike.
    Uniform,
    /// Record `k` with probability proportional to `1 / (k + 1)^theta`.
    Zipf {
        /// Exponent, 0 (uniform) or more; YCSB has 0.99.
        theta: f64,
    },
    /// YCSB's: a Zipf draw from 10^10 records, hashed onto the real ones, so that the popular ones
    /// lie anywhere. Less skewed than [`KeyDistribution::Zipf`], as the tail is longer.
    ScrambledZipf {
        /// Exponent, 0 or more.
        theta: f64,
    },
    /// The record inserted last is the most popular, by Zipf's law.
    Latest {
        /// Exponent, 0 or more.
        theta: f64,
    },
    /// A few records take most of the operations; inside and outside all are alike.
    Hotspot {
        /// Share of the records that is hot, `0..=1`; at least one record is.
        hot_records: f64,
        /// Share of the operations that goes to them, `0..=1`.
        hot_operations: f64,
    },
}

/// Why a distribution cannot be.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// No records, or too many.
    #[error("{0} records: must be 1 to 2^53")]
    Records(u64),
    /// An exponent below 0, infinite or not a number.
    #[error("Zipf exponent {0}: must be 0 or more")]
    Theta(f64),
    /// A share outside `0..=1`.
    #[error("share {0}: must be 0 to 1")]
    Share(f64),
}

/// Chooses records.
#[derive(Clone, Debug)]
pub struct KeyChooser {
    distribution: KeyDistribution,
    /// What `zipf` was made for.
    records: u64,
    zipf: Option<Zipf<f64>>,
}

impl KeyChooser {
    /// A chooser for this many records at first.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(distribution: KeyDistribution, records: u64) -> Result<Self, KeyError> {
        if !(1..=RECORDS_MAX).contains(&records) {
            return Err(KeyError::Records(records));
        }
        if let KeyDistribution::Hotspot { hot_records, hot_operations } = distribution {
            let shares = [hot_records, hot_operations];
            if let Some(bad) = shares.into_iter().find(|share| !(0.0..=1.0).contains(share)) {
                return Err(KeyError::Share(bad));
            }
        }
        let zipf = zipf(distribution, records)?;
        Ok(Self { distribution, records, zipf })
    }

    /// A record, below `records`: their number now, which may have grown. 0 counts as 1, more than
    /// [`RECORDS_MAX`] as that.
    pub fn choose(&mut self, records: u64, rng: &mut impl Rng) -> u64 {
        let records = records.clamp(1, RECORDS_MAX);
        if records != self.records {
            // The exponent has been judged, so this stays what it is.
            self.zipf = zipf(self.distribution, records).unwrap_or(self.zipf);
            self.records = records;
        }
        match self.distribution {
            KeyDistribution::Uniform => rng.random_range(0..records),
            KeyDistribution::Zipf { .. } => self.rank(rng).min(records - 1),
            KeyDistribution::ScrambledZipf { .. } => fnv(self.rank(rng)) % records,
            KeyDistribution::Latest { .. } => records - 1 - self.rank(rng).min(records - 1),
            KeyDistribution::Hotspot { hot_records, hot_operations } => {
                let hot = ((records as f64 * hot_records).ceil() as u64).clamp(1, records);
                let goes_there = rng.random::<f64>() < hot_operations;
                if goes_there || hot == records {
                    rng.random_range(0..hot)
                } else {
                    rng.random_range(hot..records)
                }
            }
        }
    }

    /// A Zipf draw, from 0 on.
    fn rank(&self, rng: &mut impl Rng) -> u64 {
        self.zipf.map_or(0, |zipf| zipf.sample(rng) as u64).saturating_sub(1)
    }
}

fn zipf(distribution: KeyDistribution, records: u64) -> Result<Option<Zipf<f64>>, KeyError> {
    let (theta, among) = match distribution {
        KeyDistribution::Zipf { theta } | KeyDistribution::Latest { theta } => {
            (theta, records as f64)
        }
        KeyDistribution::ScrambledZipf { theta } => (theta, SCRAMBLED_RECORDS),
        KeyDistribution::Uniform | KeyDistribution::Hotspot { .. } => return Ok(None),
    };
    if !theta.is_finite() {
        return Err(KeyError::Theta(theta));
    }
    let exponent = if (theta - 1.0).abs() < NEAR_ONE { 1.0 } else { theta };
    Zipf::new(among, exponent).map(Some).map_err(|_| KeyError::Theta(theta))
}

/// FNV-1a over the eight bytes, then the absolute value of what Java reads in it (YCSB's
/// `Utils.hash`).
pub(super) fn fnv(value: u64) -> u64 {
    let bytes = value.to_le_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash.cast_signed().unsigned_abs()
}
