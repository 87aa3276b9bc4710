//! Of transports by object size.

use super::{Claim, Evidence, Known, ratio};

const ERPC: Known = Known {
    result: "calls over datagrams are nearly as fast as one-sided READs",
    source: "Kalia, Kaminsky, Andersen, NSDI 2019, table 2: READ 2.0 us, call 2.3 us",
};
const RAMCLOUD: Known = Known {
    result: "the median time and the rate of an echo by size of its answer",
    source: "RAMCloud wiki, clusterperf, November 2018, basic transport over datagrams",
};
const INCAST: Known = Known {
    result: "goodput collapses when many answer at once into a short queue",
    source: "Phanishayee et al., FAST 2008; Vasudevan et al., SIGCOMM 2009",
};
const SHORT_TIMEOUTS: Known = Known {
    result: "with least timeouts of a millisecond or less it does not collapse",
    source: "Vasudevan et al., SIGCOMM 2009",
};
const LOCK: Known = Known {
    result: "threads that share a queue pair get less than one thread alone",
    source: "Ren et al. (SMART), ASPLOS 2024, fig. 3a",
};
const ONE_CORE: Known = Known {
    result: "one core's kernel TCP cannot fill 100 Gbit/s",
    source: "Cai et al., SIGCOMM 2021, abstract",
};
const BYPASS: Known = Known {
    result: "calls that pass the kernel by are several times as fast as the kernel's",
    source: "Kalia, Kaminsky, Andersen, NSDI 2019; Ousterhout et al. (RAMCloud), TOCS 2015",
};
const BANDWIDTH_DELAY: Known = Known {
    result: "below rate times round trip, goodput is the window over the round trip",
    source: "Jacobson, Braden, Borman, RFC 7323, section 1.1",
};
const SPURIOUS: Known = Known {
    result: "too long a timeout costs the tail, too short a one sends again for nothing",
    source: "Vasudevan et al., SIGCOMM 2009, section 6; RFC 6298",
};
const DCQCN: Known = Known {
    result: "with DCQCN queues stay short and the port stays full",
    source: "Zhu et al., SIGCOMM 2015",
};

/// The published medians, bytes and us.
const ECHO: [(f64, f64); 5] = [(100.0, 3.9), (1e3, 5.1), (1e4, 9.4), (1e5, 38.9), (1e6, 338.6)];

/// The published rates, bytes and MB/s.
const RATES: [(f64, f64); 4] = [(100.0, 22.6), (1e3, 183.8), (1e4, 997.6), (1e5, 2_418.0)];

/// What has to come out.
pub(in crate::scenarios) fn claims(evidence: &Evidence<'_>) -> Vec<Claim> {
    let mut claims = checks(evidence);
    claims.extend(incast(evidence));
    claims.extend(software(evidence));
    claims.extend(protocols(evidence));
    claims
}

/// Numbers that were published.
fn checks(evidence: &Evidence<'_>) -> Vec<Claim> {
    let erpc = |series| evidence.at("erpc-connectx-5", series, 32.0);
    let call = ratio(erpc("call over datagrams"), erpc("RC READ"));
    let mut claims = vec![
        ERPC.claim("a call's median over a READ's, ConnectX-5, 32 bytes", call)
            .at_least(1.0)
            .at_most(1.3)
            .published(1.15),
        ERPC.claim("a call's median, ConnectX-5, 32 bytes, us", erpc("call over datagrams"))
            .at_least(1.84)
            .at_most(2.76)
            .published(2.3),
    ];
    for (size, published) in ECHO {
        let value = evidence.at("ramcloud-p50", "costs as stated", size);
        let what = format!("median of an echo of {size} bytes, us (within 30 %)");
        claims.push(within(RAMCLOUD.claim(&what, value), published, 0.3));
    }
    for (size, published) in RATES {
        let value = evidence.at("ramcloud-goodput", "costs as stated", size);
        let what = format!("rate of echoes of {size} bytes, MB/s (within 30 %)");
        let value = value.map(|gbps| gbps * 1e3 / 8.0);
        claims.push(within(RAMCLOUD.claim(&what, value), published, 0.3));
    }
    claims
}

/// A claim that a value is as published, but for this share.
fn within(claim: Claim, published: f64, share: f64) -> Claim {
    let rounded = |limit: f64| (limit * 100.0).round() / 100.0;
    let (least, most) = ((1.0 - share) * published, (1.0 + share) * published);
    claim.published(published).at_least(rounded(least)).at_most(rounded(most))
}

fn incast(evidence: &Evidence<'_>) -> Vec<Claim> {
    let of = |series| {
        let at = |senders| evidence.at("incast-goodput", series, senders);
        ratio(at(32.0), at(1.0))
    };
    let what = "goodput of 32 senders over that of 1, least timeout 200 ms";
    let collapsed = INCAST.claim(what, of("TCP, least timeout 200 ms")).at_most(0.1);
    let what = "goodput of 32 senders over that of 1, least timeout 1 ms";
    let whole = SHORT_TIMEOUTS.claim(what, of("TCP, least timeout 1 ms")).at_least(0.5);
    vec![collapsed, whole]
}

/// Software and locks.
fn software(evidence: &Evidence<'_>) -> Vec<Claim> {
    let lock = |series, threads| evidence.at("locks", series, threads);
    let time = |series, size| evidence.at("latency", series, size);
    let rate = |series| evidence.at("clients-rate", series, 256.0);
    vec![
        LOCK.claim(
            "one queue pair for 8 threads, over one thread's own",
            ratio(lock("one for all", 8.0), lock("one for all", 1.0)),
        )
        .at_most(0.5)
        .published(0.581 / 1.903),
        BYPASS
            .claim(
                "kernel TCP's time for 64 bytes over the datagrams'",
                ratio(time("kernel TCP", 64.0), time("datagrams, software", 64.0)),
            )
            .at_least(3.0),
        BYPASS
            .claim(
                "rate of 8 server cores with datagrams over kernel TCP, 256 clients",
                ratio(rate("datagrams, 8 server cores"), rate("kernel TCP, 8 server cores")),
            )
            .at_least(3.0),
        ONE_CORE
            .claim(
                "kernel TCP's time for 1 MiB over RC's",
                ratio(time("kernel TCP", 1_048_576.0), time("RC READ", 1_048_576.0)),
            )
            .at_least(1.1),
    ]
}

/// Windows, timeouts and queues.
fn protocols(evidence: &Evidence<'_>) -> Vec<Claim> {
    let window = |wire, packets| evidence.at("window", wire, packets);
    let hall = "a hall: 10 us one way";
    let rack = "one switch: 0.32 us one way";
    let tail = |us| evidence.at("timeout-p999", "1 of 1,000 lost", us);
    let lossless = |us| evidence.at("timeout-goodput", "nothing lost", us);
    let queue = |series| evidence.at("congestion-queue", series, 16.0);
    let full = |series| evidence.at("congestion-goodput", series, 16.0);
    vec![
        BANDWIDTH_DELAY
            .claim(
                "goodput with a window of 32 over 16, 10 us one way",
                ratio(window(hall, 32.0), window(hall, 16.0)),
            )
            .at_least(1.8)
            .at_most(2.2),
        BANDWIDTH_DELAY
            .claim(
                "goodput with a window of 256 over 64, in a rack",
                ratio(window(rack, 256.0), window(rack, 64.0)),
            )
            .at_least(0.95)
            .at_most(1.05),
        SPURIOUS
            .claim(
                "p99.9 with a timeout of 20 ms over 100 us, 1 of 1,000 lost",
                ratio(tail(20_000.0), tail(100.0)),
            )
            .at_least(5.0),
        SPURIOUS
            .claim(
                "goodput with a timeout of 5 us over 1 ms, nothing lost",
                ratio(lossless(5.0), lossless(1_000.0)),
            )
            .at_most(0.8)
            .because(
                "a server that works on a call ignores its repetition, and only what is not \
                 acknowledged is sent again: software repeats less than it could",
            ),
        DCQCN
            .claim(
                "mean queue with DCQCN over without, 16 senders",
                ratio(queue("RC, DCQCN"), queue("RC")),
            )
            .at_most(0.3),
        DCQCN
            .claim(
                "goodput with DCQCN over without, 16 senders",
                ratio(full("RC, DCQCN"), full("RC")),
            )
            .at_least(0.8),
    ]
}
