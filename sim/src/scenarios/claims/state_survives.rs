//! Of a middlebox's own state.

use super::{Claim, Evidence, Known, ratio};

const INTERVAL: Known = Known {
    result: "with checkpoints that cost d and failures every M, an interval of sqrt(2 d M) wastes \
             least; with a replay that is 1/r times as fast as the work, sqrt(2 d M / r)",
    source: "Young, A First Order Approximation to the Optimum Checkpoint Interval, CACM 17(9), \
             1974; Daly, FGCS 22(3), 2006",
};
const GROUP: Known = Known {
    result: "flushing the log for many at once lifts the bound of one flush each, and everybody \
             waits half an interval and the flush",
    source: "Spiro, Joshi and Rengarajan, Designing an Optimized Transaction Commit Protocol, \
             Digital Technical Journal 3(1), 1991",
};
const MIDDLEBOX: Known = Known {
    result: "logging what a middlebox decides, and releasing packets when it is safe elsewhere, \
             adds 30 us to the median latency and takes 5 to 30 % of the throughput; state is back \
             after 40 to 275 ms",
    source: "Sherry et al., Rollback-Recovery for Middleboxes (FTMB), SIGCOMM 2015, abstract",
};
const OWN: Known = Known {
    result: "in the program, the journal makes a small frame 1.41 to 1.47 times as dear, with \
             small batches",
    source: "qpmux, live/restart.md, measured on a virtual machine with two processors",
};
const WINDOW: Known = Known {
    result: "what is written behind is lost for half an interval and the time of the flush",
    source: "arithmetic: arrivals at rate l, an age of T/2 + s on average, l (T/2 + s) of them; of \
             n connections k frames touch n (1 - (1 - 1/n)^k)",
};
const BUFFERED: Known = Known {
    result: "state in other machines' memory is durable after a round trip, not after a disk: \
             small durable writes take 13.5 us, reads under 5",
    source: "Ousterhout et al., The RAMCloud Storage System, TOCS 33(3), 2015, abstract",
};

/// Records of a frame, as the preset has them.
const RECORDS: f64 = 0.586;

/// What has to come out.
pub(in crate::scenarios) fn claims(evidence: &Evidence<'_>) -> Vec<Claim> {
    let mut claims = intervals(evidence);
    claims.extend(flushes(evidence));
    claims.extend(standby(evidence));
    claims
}

fn intervals(evidence: &Evidence<'_>) -> Vec<Claim> {
    let mut claims = Vec::new();
    for series in ["1,000 connections", "10,000", "100,000"] {
        let best = evidence.place_of_least("interval-wasted", series);
        let at_best = |metric: &str| evidence.at(&format!("young-{metric}"), series, best?);
        claims.push(
            INTERVAL
                .claim(
                    &format!("{series}: the interval that wastes least, over Young's"),
                    at_best("interval_over_young"),
                )
                .at_least(0.75)
                .at_most(1.34)
                .published(1.0),
        );
        claims.push(
            INTERVAL
                .claim(
                    &format!("{series}: what it wastes, over Young's formula"),
                    at_best("wasted_over_young"),
                )
                .at_least(0.97)
                .at_most(1.03)
                .published(1.0),
        );
    }
    claims
}

fn flushes(evidence: &Evidence<'_>) -> Vec<Claim> {
    let most = |series: &str| evidence.greatest("group-rate-mops", series);
    let waited = evidence.at("group-mean_us", "frames wait for the flush", 1000.0);
    let lost = evidence.at("group-lost_records", "write-behind", 5000.0);
    // 2,500 us of waiting and 100 of the flush, at one frame each microsecond.
    let window: f64 = 2_600.0;
    let touched = evidence.at("group-lost_connections", "write-behind", 1000.0);
    let touched_of = 1_000.0 * (1.0 - (1.0 - 1e-3f64).powf(600.0));
    vec![
        GROUP
            .claim(
                "most frames with a flush every 200 us over those with one for each burst",
                ratio(most("a flush every 200 us"), most("a flush for each burst")),
            )
            .at_least(10.0),
        GROUP
            .claim("flushes every 1,000 us of 100 us: mean wait, us", waited)
            .at_least(570.0)
            .at_most(630.0)
            .published(600.0),
        WINDOW
            .claim("flushes every 5,000 us: records that a crash loses", lost)
            .at_least(0.9 * window * RECORDS)
            .at_most(1.1 * window * RECORDS)
            .published(window * RECORDS),
        WINDOW
            .claim("flushes every 1,000 us: connections of 1,000 that lose one", touched)
            .at_least(0.85 * touched_of)
            .at_most(1.15 * touched_of)
            .published(touched_of),
    ]
}

fn standby(evidence: &Evidence<'_>) -> Vec<Claim> {
    let word = "the standby's word";
    let median = |series: &str| evidence.at("keep-p50_us", series, 4000.0);
    let added = median(word).zip(median("no log")).map(|(with, without)| with - without);
    let most = |series: &str| evidence.greatest("keep-mops", series);
    let one = |series: &str| evidence.at("burst", series, 1.0);
    let back = evidence.at("recovery-recovery_ms", "log, 1,000 connections", 1000.0);
    vec![
        MIDDLEBOX
            .claim("the standby's word: more of median latency at 4 M frames/s, us", added)
            .at_least(5.0)
            .at_most(60.0)
            .published(30.0),
        MIDDLEBOX
            .claim(
                "the standby's word: most frames over those of no log",
                ratio(most(word), most("no log")),
            )
            .at_least(0.7)
            .at_most(0.95),
        MIDDLEBOX
            .claim("a checkpoint a second, 1 M frames/s: back after, ms", back)
            .at_least(40.0)
            .at_most(275.0),
        BUFFERED
            .claim(
                "median, the standby's word over a flush for each burst, 200 kframes/s",
                ratio(
                    evidence.at("keep-p50_us", word, 200.0),
                    evidence.at("keep-p50_us", "on disk, each burst", 200.0),
                ),
            )
            .at_most(0.5),
        OWN.claim(
            "frames one by one: cost, mapped memory over none",
            ratio(one("no log"), one("mapped memory")),
        )
        .at_least(1.2)
        .at_most(1.69)
        .published(1.44),
    ]
}
