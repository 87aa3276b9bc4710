//! Which dots to draw when there are more than a reader, or a file, can take.

use super::Dot;

/// Columns that a panel is divided into: about one per width of a mark.
const COLUMNS: f64 = 42.0;

/// Row and key. The dots that share both are a lane.
type Lane = (usize, Option<usize>);

fn lane(dot: &Dot) -> Lane {
    (dot.server_qp, dot.key)
}

/// Chooses at most `most` of `dots`, the same ones every time, and returns them by lane and time.
///
/// First goes what another dot of the same lane would cover. If that is not enough, every n-th
/// of the rest is taken, which keeps the proportions. No lane becomes empty as long as there are
/// fewer than `most`: a key on a row where it should not be is always seen.
pub(super) fn thin(dots: &[Dot], first_ms: f64, span_ms: f64, most: usize) -> Vec<Dot> {
    let mut left = dots.to_vec();
    left.sort_by(|a, b| lane(a).cmp(&lane(b)).then(a.time_ms.total_cmp(&b.time_ms)));
    if left.len() <= most {
        return left;
    }
    let column = |dot: &Dot| ((dot.time_ms - first_ms) / span_ms * COLUMNS) as u32;
    left.dedup_by_key(|dot| (lane(dot), column(dot)));
    if left.len() <= most {
        return left;
    }
    let lanes: Vec<&[Dot]> = left.chunk_by(|a, b| lane(a) == lane(b)).collect();
    if lanes.len() >= most {
        let one_each: Vec<Dot> = lanes.iter().filter_map(|dots| middle(dots)).collect();
        return every_nth(&one_each, most);
    }
    keep_lanes(&lanes, left.len(), most - lanes.len())
}

/// The dot of a lane that stands for it alone. Not the first: those would form a line at time 0.
fn middle(dots: &[Dot]) -> Option<Dot> {
    dots.get(dots.len() / 2).cloned()
}

/// Of all dots of `lanes`, `total` in number, about `quota` evenly spaced ones, and one of each
/// lane that would otherwise have none.
fn keep_lanes(lanes: &[&[Dot]], total: usize, quota: usize) -> Vec<Dot> {
    let mut kept = Vec::new();
    let mut at = 0;
    for dots in lanes {
        let before = kept.len();
        for dot in *dots {
            if chosen(at, total, quota) {
                kept.push(dot.clone());
            }
            at += 1;
        }
        if kept.len() == before {
            kept.extend(middle(dots));
        }
    }
    kept
}

/// `quota` evenly spaced ones of `dots`.
fn every_nth(dots: &[Dot], quota: usize) -> Vec<Dot> {
    let all = dots.iter().enumerate();
    all.filter(|(at, _)| chosen(*at, dots.len(), quota)).map(|(_, dot)| dot.clone()).collect()
}

/// Whether number `at` of `total` is one of `quota` evenly spaced ones.
fn chosen(at: usize, total: usize, quota: usize) -> bool {
    let before = |at: usize| at as u128 * quota as u128 / total as u128;
    before(at + 1) > before(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` dots over 100 ms, spread over rows and keys by strides.
    fn dots(count: usize, rows: usize) -> Vec<Dot> {
        (0..count)
            .map(|n| Dot {
                time_ms: n as f64 * 100.0 / count as f64,
                server_qp: n * 7 % rows,
                key: (!n.is_multiple_of(3)).then_some(n % 8),
            })
            .collect()
    }

    fn lanes(dots: &[Dot]) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = dots.iter().map(lane).collect();
        lanes.sort();
        lanes.dedup();
        lanes
    }

    #[test]
    fn few_dots_all_stay() {
        assert_eq!(thin(&dots(700, 16), 0.0, 100.0, 700).len(), 700);
    }

    #[test]
    fn many_dots_keep_the_bound_and_every_lane() {
        for (count, rows) in [(1_000, 1), (5_000, 16), (50_000, 16), (20_000, 30)] {
            let all = dots(count, rows);
            let kept = thin(&all, 0.0, 100.0, 700);
            assert!(kept.len() <= 700 && kept.len() > 300, "{count} {rows}: {}", kept.len());
            assert_eq!(lanes(&kept), lanes(&all), "{count} {rows}");
        }
    }

    #[test]
    fn more_lanes_than_places() {
        assert_eq!(thin(&dots(50_000, 5_000), 0.0, 100.0, 700).len(), 700);
        assert_eq!(thin(&dots(50_000, 5_000), 0.0, 100.0, 0), []);
    }

    #[test]
    fn a_lone_stray_dot_survives() {
        let mut all = dots(40_000, 15);
        all.push(Dot { time_ms: 3.0, server_qp: 15, key: Some(2) });
        let kept = thin(&all, 0.0, 100.0, 700);
        assert!(kept.iter().any(|dot| dot.server_qp == 15));
    }

    #[test]
    fn the_order_of_the_input_does_not_matter() {
        let forward = dots(9_000, 16);
        let backward: Vec<Dot> = forward.iter().rev().cloned().collect();
        assert_eq!(thin(&forward, 0.0, 100.0, 700), thin(&backward, 0.0, 100.0, 700));
    }
}
