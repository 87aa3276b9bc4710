//! Of the host receive path.

use super::{Claim, Evidence, Known, ratio};

const LIVELOCK: Known = Known {
    result: "a kernel driven by interrupts answers less the more comes, down to nothing",
    source: "Mogul and Ramakrishnan, Eliminating Receive Livelock in an Interrupt-driven Kernel, \
             USENIX 1996, Fig. 6-1, and TOCS 15(3), 1997",
};
const POLLING: Known = Known {
    result: "polling with a quota and feedback from full queues keeps the best rate under any \
             load; without feedback, what is dropped behind the protocols is received in vain",
    source: "Mogul and Ramakrishnan, USENIX 1996, Fig. 6-3 and 6-4, and TOCS 15(3), 1997",
};
const BYPASS: Known = Known {
    result: "a stack without interrupts and calls has up to 6.4 times the throughput of Linux's \
             for a key-value store, and less than half its tail latency",
    source: "Belay et al., The IX Operating System, TOCS 34(4), 2016, abstract",
};
const SHARED_SOCKET: Known = Known {
    result: "one listening socket does not scale; one for each core does, and short connections \
             gain up to 582 % on 8 cores together with lighter sockets and batching",
    source: "Han et al., MegaPipe, OSDI 2012, abstract",
};
const LOCALITY: Known = Known {
    result: "receiving a connection's packets where its application runs brings 24 %",
    source: "Pesterev et al., Improving Network Connection Locality on Multicore Systems \
             (Affinity-Accept), EuroSys 2012, abstract",
};
const IMBALANCE: Known = Known {
    result: "a hash loads rings unevenly while flows are few: the fullest has what the fullest of \
             as many bins gets of as many balls",
    source: "Barbette et al., RSS++, CoNEXT 2019 (the effect); its expectation for 8 balls in 8 \
             bins is arithmetic",
};
const LEAKY_DMA: Known = Known {
    result: "packets are evicted before they are read once rings are larger than the ways that \
             adapters write to, and throughput falls; fewer descriptors or more ways cure it",
    source: "Song et al., OSDI 2026, abstract (the leaky DMA problem); Farshin et al., Reexamining \
             Direct Cache Access, ATC 2020, Sec. 4.4 (ways)",
};
const REMOTE: Known = Known {
    result: "packets that land at another node cost more for each line",
    source: "Neugebauer et al., Understanding PCIe Performance, SIGCOMM 2018 (100 ns more for a \
             read from the other socket)",
};
const OVERLOAD: Known = Known {
    result: "without control of overload a server that is full answers too late, and its goodput \
             collapses; shedding by queueing delay keeps it",
    source: "Cho et al., Overload Control for us-scale RPCs with Breakwater, OSDI 2020, abstract",
};
const OLDEST: Known = Known {
    result: "under overload the newest requests are the ones whose clients still wait",
    source: "Maurer, Fail at Scale, ACM Queue 13(8), 2015",
};

/// Mean load of the fullest of 8 bins that 8 balls are thrown into, over the mean load: the sum of
/// k times the share of throws whose fullest bin has k, counted over all 8^8 throws.
const FULLEST_OF_8: f64 = 2.5972;

/// What has to come out.
pub(in crate::scenarios) fn claims(evidence: &Evidence<'_>) -> Vec<Claim> {
    let mut claims = livelock(evidence);
    claims.extend(stacks_and_sockets(evidence));
    claims.extend(caches(evidence));
    claims.extend(overload(evidence));
    claims
}

fn livelock(evidence: &Evidence<'_>) -> Vec<Claim> {
    let over_best = |series: &str| {
        ratio(evidence.last("livelock", series), evidence.greatest("livelock", series))
    };
    let place = |x| evidence.at("livelock", "interrupts", x);
    vec![
        LIVELOCK
            .claim(
                "interrupts: answers at the greatest load over the most",
                over_best("interrupts"),
            )
            .at_most(0.05),
        LIVELOCK
            .claim("interrupts: answers at 600 kops/s over 400", ratio(place(600.0), place(400.0)))
            .at_most(0.9),
        POLLING
            .claim(
                "polling that stops at full sockets: the same",
                over_best("polling, stops at full sockets"),
            )
            .at_least(0.95),
        POLLING
            .claim("polling that does not: the same", over_best("polling with a budget"))
            .at_most(0.8),
    ]
}

fn stacks_and_sockets(evidence: &Evidence<'_>) -> Vec<Claim> {
    let most = |series: &str| evidence.greatest("bypass-kops", series);
    let tail = |series: &str| evidence.at("bypass-p99_us", series, 150.0);
    let cores = |series: &str, x| evidence.at("sockets-kops", series, x);
    let (one, hashed, local) =
        ("one socket", "one per core, by another hash", "one per core, of its ring");
    vec![
        BYPASS
            .claim("bypass: most answers over the kernel's", ratio(most("bypass"), most("kernel")))
            .at_least(2.0)
            .at_most(6.4)
            .published(6.4),
        BYPASS
            .claim(
                "kernel: p99 at 150 kops/s over that of bypass",
                ratio(tail("kernel"), tail("bypass")),
            )
            .at_least(2.0)
            .published(2.0),
        SHARED_SOCKET
            .claim(
                "one socket: answers of 16 cores over 4",
                ratio(cores(one, 16.0), cores(one, 4.0)),
            )
            .at_most(1.5),
        SHARED_SOCKET
            .claim(
                "a socket for each core: answers of 16 cores over 1",
                ratio(cores(local, 16.0), cores(local, 1.0)),
            )
            .at_least(14.4),
        SHARED_SOCKET
            .claim(
                "8 cores: a socket for each over one for all",
                ratio(cores(local, 8.0), cores(one, 8.0)),
            )
            .at_least(1.5)
            .at_most(6.82)
            .published(6.82),
        LOCALITY
            .claim(
                "8 cores: sockets of rings over sockets by another hash",
                ratio(cores(local, 8.0), cores(hashed, 8.0)),
            )
            .at_least(1.05)
            .at_most(1.4)
            .published(1.24),
    ]
}

fn caches(evidence: &Evidence<'_>) -> Vec<Claim> {
    let answers = |series: &str, x| evidence.at("ddio-kops", series, x);
    let misses = |series: &str, x| evidence.at("ddio-llc_misses", series, x);
    // 25 MB * 2 / 11 of 1,536 bytes: 2,959 packets, so 739 descriptors of each of four rings.
    let edge = misses("2 ways", 1024.0).zip(misses("2 ways", 512.0)).map(|(out, fits)| out - fits);
    let node = |series: &str| evidence.at("numa", series, 1500.0);
    vec![
        IMBALANCE
            .claim(
                "8 flows on 8 rings: the fullest ring over the mean",
                evidence.at("flows-imbalance", "8 rings and cores", 8.0),
            )
            .at_least(0.9 * FULLEST_OF_8)
            .at_most(1.1 * FULLEST_OF_8)
            .published(FULLEST_OF_8),
        LEAKY_DMA
            .claim("2 ways: packets from memory, 1,024 descriptors less 512", edge)
            .at_least(0.9),
        LEAKY_DMA
            .claim(
                "2 ways: answers, 4,096 descriptors over 256",
                ratio(answers("2 ways", 4096.0), answers("2 ways", 256.0)),
            )
            .at_most(0.9),
        LEAKY_DMA
            .claim(
                "1,024 descriptors: answers, 4 ways over 2",
                ratio(answers("4 ways", 1024.0), answers("2 ways", 1024.0)),
            )
            .at_least(1.1),
        REMOTE
            .claim(
                "1,500 bytes: answers, other node over own",
                ratio(node("other node"), node("own node")),
            )
            .at_least(0.3)
            .at_most(0.9),
    ]
}

fn overload(evidence: &Evidence<'_>) -> Vec<Claim> {
    let good = |series: &str, x| evidence.at("overload-goodput_kops", series, x);
    let all = |series: &str, x| evidence.at("overload-kops", series, x);
    let long = "newest, 1,024 wait";
    vec![
        OVERLOAD
            .claim(
                "long queue, 200 kops/s: goodput over answers",
                ratio(good(long, 200.0), all(long, 200.0)),
            )
            .at_most(0.05),
        OVERLOAD
            .claim(
                "shed early, 400 kops/s: goodput over most answers without",
                ratio(good("shed early", 400.0), evidence.greatest("overload-kops", long)),
            )
            .at_least(0.85),
        OVERLOAD
            .claim(
                "short queue, 400 kops/s: the same",
                ratio(good("newest, 32 wait", 400.0), evidence.greatest("overload-kops", long)),
            )
            .at_least(0.85),
        OLDEST
            .claim(
                "oldest dropped, 128 wait, 400 kops/s: goodput over answers",
                ratio(good("oldest, 128 wait", 400.0), all("oldest, 128 wait", 400.0)),
            )
            .at_least(0.8),
        OLDEST
            .claim(
                "256 wait, 200 kops/s: goodput where the newest are dropped, kops/s",
                evidence.at("queue-limit-goodput_kops", "drop the newest", 256.0),
            )
            .at_most(5.0),
    ]
}
