//! Frequencies against their formulas, and the first values of each generator.

use std::collections::BTreeMap;

use super::distribution::fnv;
use super::{
    KeyChooser, KeyDistribution, KeyError, Mix, OperationKind, OperationStream, Ycsb, generator,
};

const DRAWS: u64 = 400_000;

fn draws(keys: KeyDistribution, records: u64, count: u64) -> Vec<u64> {
    let mut chooser = KeyChooser::new(keys, records).unwrap();
    let mut rng = generator(7, 0);
    (0..count).map(|_| chooser.choose(records, &mut rng)).collect()
}

fn counts(keys: KeyDistribution, records: u64) -> BTreeMap<u64, u64> {
    draws(keys, records, DRAWS).into_iter().fold(BTreeMap::new(), |mut counts, key| {
        assert!(key < records);
        *counts.entry(key).or_default() += 1;
        counts
    })
}

/// Whether `seen` of all draws is what a probability of `p` gives, within 5 standard deviations.
fn fits(seen: u64, p: f64) -> bool {
    let expected = DRAWS as f64 * p;
    (seen as f64 - expected).abs() <= 5.0 * (expected * (1.0 - p)).sqrt() + 1.0
}

fn zeta(records: u64, theta: f64) -> f64 {
    (1..=records).map(|rank| (rank as f64).powf(-theta)).sum()
}

#[test]
fn zipf_has_the_frequencies_of_its_law_for_any_exponent() {
    for theta in [0.0, 0.5, 0.99, 1.0, 1.0 + 1e-9, 1.2, 2.5] {
        let records = 1_000;
        let seen = counts(KeyDistribution::Zipf { theta }, records);
        let sum = zeta(records, theta);
        for key in [0, 1, 2, 9, 99, 999] {
            let p = ((key + 1) as f64).powf(-theta) / sum;
            let count = seen.get(&key).copied().unwrap_or(0);
            assert!(fits(count, p), "theta {theta}, key {key}: {count} for {p}");
        }
    }
}

#[test]
fn scrambled_zipf_is_zipf_over_ten_billion_records_hashed() {
    let records = 1_000;
    let seen = counts(KeyDistribution::ScrambledZipf { theta: 0.99 }, records);
    // YCSB has computed this sum over 10^10 records (ScrambledZipfianGenerator.ZETAN).
    let sum = 26.469_028_201_783_02;
    let mut expected = vec![0.0; records as usize];
    let known = 100_000;
    for rank in 0..known {
        expected[(fnv(rank) % records) as usize] += ((rank + 1) as f64).powf(-0.99) / sum;
    }
    let rest = 1.0 - expected.iter().sum::<f64>();
    for (key, p) in expected.iter().enumerate() {
        let count = seen.get(&(key as u64)).copied().unwrap_or(0);
        assert!(fits(count, p + rest / records as f64), "key {key}: {count}");
    }
}

#[test]
fn latest_prefers_the_newest_record_as_records_grow() {
    let mut chooser = KeyChooser::new(KeyDistribution::Latest { theta: 0.99 }, 10).unwrap();
    let mut rng = generator(3, 0);
    for records in [10, 100, 1_000] {
        let newest = (0..DRAWS).filter(|_| chooser.choose(records, &mut rng) == records - 1);
        let p = 1.0 / zeta(records, 0.99);
        assert!(fits(newest.count() as u64, p), "{records}");
    }
}

#[test]
fn hotspot_and_uniform_have_their_shares() {
    let keys = KeyDistribution::Hotspot { hot_records: 0.2, hot_operations: 0.8 };
    let seen = counts(keys, 100);
    assert!(fits(seen.range(..20).map(|(_, count)| count).sum(), 0.8));
    assert!(fits(seen[&0], 0.8 / 20.0) && fits(seen[&99], 0.2 / 80.0));
    let seen = counts(KeyDistribution::Uniform, 100);
    assert!(seen.len() == 100 && seen.values().all(|count| fits(*count, 0.01)));
}

#[test]
fn golden_first_values() {
    let first = |keys| draws(keys, 1_000_000, 6);
    let golden: [(KeyDistribution, [u64; 6]); 6] = [
        (KeyDistribution::Uniform, [268628, 145140, 95145, 736735, 151443, 48543]),
        (KeyDistribution::Zipf { theta: 0.99 }, [24, 1, 3, 1797, 15, 84]),
        (KeyDistribution::Zipf { theta: 1.5 }, [0, 0, 0, 2, 0, 0]),
        (
            KeyDistribution::ScrambledZipf { theta: 0.99 },
            [793121, 816769, 144081, 777739, 76669, 112387],
        ),
        (KeyDistribution::Latest { theta: 0.99 }, [999975, 999998, 999996, 998202, 999984, 999915]),
        (
            KeyDistribution::Hotspot { hot_records: 0.1, hot_operations: 0.9 },
            [14514, 73673, 4854, 19954, 68531, 87819],
        ),
    ];
    for (keys, values) in golden {
        assert_eq!(first(keys), values, "{keys:?}");
    }
}

#[test]
fn same_seed_same_sequence_and_streams_differ() {
    let run = |seed, stream| {
        let keys = Ycsb::A.usual_keys();
        let mut stream = OperationStream::new(Ycsb::A.mix(), keys, 1_000, seed, stream).unwrap();
        (0..100).map(|_| stream.next_operation(1_000)).collect::<Vec<_>>()
    };
    assert_eq!(run(1, 0), run(1, 0));
    assert_ne!(run(1, 0), run(2, 0));
    assert_ne!(run(1, 0), run(1, 1));
}

#[test]
fn mixes_have_their_shares() {
    for ycsb in Ycsb::ALL {
        let mix = ycsb.mix();
        let Mix { read, update, insert, scan, read_modify_write } = mix;
        assert_eq!(read + update + insert + scan + read_modify_write, 100);
        let mut stream = OperationStream::new(mix, ycsb.usual_keys(), 10, 5, 5).unwrap();
        let mut seen = [0; 5];
        for _ in 0..DRAWS {
            let operation = stream.next_operation(10);
            assert!(operation.record < 10 || operation.kind == OperationKind::Insert);
            seen[match operation.kind {
                OperationKind::Read => 0,
                OperationKind::Update => 1,
                OperationKind::Insert => 2,
                OperationKind::Scan { records } => {
                    assert!((1..=100).contains(&records));
                    3
                }
                OperationKind::ReadModifyWrite => 4,
            }] += 1;
        }
        let shares = [read, update, insert, scan, read_modify_write];
        for (count, share) in seen.into_iter().zip(shares) {
            assert!(fits(count, f64::from(share) / 100.0), "{ycsb}: {seen:?}");
        }
        assert_eq!(ycsb.to_string().to_lowercase().parse(), Ok(ycsb));
    }
    assert!("G".parse::<Ycsb>().is_err());
}

#[test]
fn what_cannot_be_is_refused() {
    let error = |keys, records| KeyChooser::new(keys, records).err();
    assert_eq!(error(KeyDistribution::Uniform, 0), Some(KeyError::Records(0)));
    assert_eq!(error(KeyDistribution::Uniform, u64::MAX), Some(KeyError::Records(u64::MAX)));
    assert_eq!(error(KeyDistribution::Zipf { theta: -0.1 }, 9), Some(KeyError::Theta(-0.1)));
    for theta in [f64::NAN, f64::INFINITY] {
        assert!(matches!(error(KeyDistribution::Latest { theta }, 9), Some(KeyError::Theta(_))));
    }
    let keys = KeyDistribution::Hotspot { hot_records: 0.1, hot_operations: 1.1 };
    assert_eq!(error(keys, 9), Some(KeyError::Share(1.1)));
}

#[test]
fn extremes_stay_inside() {
    for theta in [0.0, 0.99, 1.0, 30.0, 1e6] {
        for records in [1, 2, super::RECORDS_MAX] {
            for keys in [KeyDistribution::Zipf { theta }, KeyDistribution::Latest { theta }] {
                assert!(draws(keys, records, 1_000).into_iter().all(|key| key < records));
            }
        }
    }
}
