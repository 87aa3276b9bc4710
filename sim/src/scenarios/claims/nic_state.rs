//! Of state in adapters.

use super::{Claim, Evidence, Known, ratio};

const CONTEXTS: Known = Known {
    result: "many connections cost old adapters most of their rate",
    source: "Kalia, Kaminsky, Andersen, ATC 2016, rdma_bench rc-swarm: 88 to 792 queue pairs",
};
const NEWER: Known = Known {
    result: "newer adapters hold more connections",
    source: "Novakovic et al. (Storm), SYSTOR 2019; Kalia et al. (eRPC), NSDI 2019, section 2.3",
};
const DATAGRAMS: Known = Known {
    result: "datagrams do not slow down with the number of peers",
    source: "Kalia, Kaminsky, Andersen (FaSST), OSDI 2016, section 3",
};
const PAGES: Known = Known {
    result: "large registered memory is slow with small pages, not with large ones",
    source: "Dragojevic et al. (FaRM), NSDI 2014, section 3.1",
};
const PHYSICAL: Known = Known {
    result: "with physical addresses the size of registered memory does not matter",
    source: "Tsai, Zhang (LITE), SOSP 2017, section 4",
};
const REGIONS: Known = Known {
    result: "many memory regions cost rate",
    source: "Tsai, Zhang (LITE), SOSP 2017, section 2.4",
};
const HOPSCOTCH: Known = Known {
    result: "a lookup takes little more than one READ, even if the table is 90 % full",
    source: "Dragojevic et al. (FaRM), NSDI 2014, section 4",
};
const HERD: Known = Known {
    result: "one call to a server's cores beats lookups by READs, by more than two",
    source: "Kalia, Kaminsky, Andersen (HERD), SIGCOMM 2014, abstract",
};
const HERD_RATE: Known = Known {
    result: "up to 26 million operations per second on ConnectX-3",
    source: "Kalia, Kaminsky, Andersen (HERD), SIGCOMM 2014, abstract",
};
const KV_DIRECT: Known = Known {
    result: "an adapter that serves does the work of tens of cores",
    source: "Li et al. (KV-Direct), SOSP 2017, abstract: 180 million operations per second",
};
const DOORBELLS: Known = Known {
    result: "one doorbell for many requests lets a core do more",
    source: "Kalia, Kaminsky, Andersen, ATC 2016, section 3",
};
const LITTLE: Known = Known {
    result: "more requests outstanding hide the round trip, until something is busy",
    source: "Kalia, Kaminsky, Andersen (FaSST), OSDI 2016, section 4; Little 1961",
};
const ONE_THREAD: Known = Known {
    result: "one thread's READs on Connect-IB",
    source: "FaSST (OSDI 2016), app/one-sided-sharing/README.md",
};
const OFF_PATH: Known = Known {
    result: "a SmartNIC's cores beside the path are farther away than the host",
    source: "Wei et al., OSDI 2023",
};
const SWITCH: Known = Known {
    result: "a switch's pipeline does in the packet's own time what a core is too slow for",
    source: "Jin et al. (NetCache), SOSP 2017; Grant et al. (SwordBox), NSDI 2023",
};

/// What has to come out.
pub(in crate::scenarios) fn claims(evidence: &Evidence<'_>) -> Vec<Claim> {
    let mut claims = connections(evidence);
    claims.extend(memory(evidence));
    claims.extend(lookups(evidence));
    claims.extend(software(evidence));
    claims
}

fn connections(evidence: &Evidence<'_>) -> Vec<Claim> {
    let share = |nic: &str, series, most| {
        let at = |count| evidence.at(&format!("connections-{nic}"), series, count);
        ratio(at(most), at(32.0))
    };
    let kept = |nic: &str, series| share(nic, series, 8_192.0);
    let reads = "RC READs";
    vec![
        CONTEXTS
            .claim("READs with 8,192 connections over 32, ConnectX-3", kept("connectx-3", reads))
            .at_most(0.5),
        NEWER
            .claim(
                "READs with 8,192 connections over 32, ConnectX-5's share over ConnectX-3's",
                ratio(kept("connectx-5", reads), kept("connectx-3", reads)),
            )
            .at_least(1.0)
            .because(
                "a cache of 1 MB, which is assumed, holds 2,800 contexts; beyond it as few fetches \
                 at a time cost more of a higher rate",
            ),
        NEWER
            .claim(
                "the same with 2,048 connections",
                ratio(share("connectx-5", reads, 2_048.0), share("connectx-3", reads, 2_048.0)),
            )
            .at_least(1.0),
        DATAGRAMS
            .claim(
                "calls over datagrams with 8,192 connections over 32, Connect-IB",
                kept("connect-ib", "calls over datagrams"),
            )
            .at_least(0.95),
        DATAGRAMS
            .claim(
                "calls over datagrams over READs, 8,192 connections, ConnectX-3",
                ratio(
                    evidence.at("connections-connectx-3", "calls over datagrams", 8_192.0),
                    evidence.at("connections-connectx-3", reads, 8_192.0),
                ),
            )
            .at_least(1.0),
    ]
}

fn memory(evidence: &Evidence<'_>) -> Vec<Claim> {
    let kept = |series| {
        let at = |gigabytes| evidence.at("pages-usual-rate", series, gigabytes);
        ratio(at(64.0), at(0.0625))
    };
    let regions = |count| evidence.at("regions-rate", "ConnectX-5", count);
    vec![
        PAGES.claim("64 GB over 64 MB, pages of 4 KB", kept("pages of 4 KB")).at_most(0.9),
        PAGES.claim("64 GB over 64 MB, pages of 1 GB", kept("1 GB")).at_least(0.97),
        PHYSICAL
            .claim("64 GB over 64 MB, physical addresses", kept("physical addresses"))
            .at_least(0.97)
            .at_most(1.03),
        REGIONS
            .claim("65,536 regions over 1, ConnectX-5", ratio(regions(65_536.0), regions(1.0)))
            .at_most(0.9),
    ]
}

fn lookups(evidence: &Evidence<'_>) -> Vec<Claim> {
    let reads = |series| evidence.at("hopscotch-reads", series, 0.9);
    let two = "READs of slots (H = 8), then of the value";
    let rate = |nic: &str, series, cores| evidence.at(&format!("lookup-{nic}-rate"), series, cores);
    let host = "calls, the host's cores";
    let adapter = "calls, the adapter";
    vec![
        HOPSCOTCH
            .claim("READs of slots per lookup, H = 8, 90 % full", reads("H = 8"))
            .at_least(1.0)
            .at_most(1.1),
        HERD.claim(
            "calls to 16 cores over two READs, ConnectX-3",
            ratio(rate("connectx-3", host, 16.0), rate("connectx-3", two, 16.0)),
        )
        .at_least(1.5)
        .published(2.0),
        HERD_RATE
            .claim(
                "calls to 16 cores, ConnectX-3, millions per second",
                rate("connectx-3", host, 16.0),
            )
            .at_least(18.2)
            .at_most(33.8)
            .published(26.0)
            .because(
                "the preset's message rate was fitted to READs between machines that all ask and \
                 answer (rdma_bench), where contexts and PCIe reads of payloads are within it",
            ),
        KV_DIRECT
            .claim(
                "the adapter over one core of the host, ConnectX-5",
                ratio(rate("connectx-5", adapter, 1.0), rate("connectx-5", host, 1.0)),
            )
            .at_least(10.0),
    ]
}

fn software(evidence: &Evidence<'_>) -> Vec<Claim> {
    let batches = |count| evidence.at("doorbells-rate", "40 ns", count);
    let thread =
        |nic: &str, count| evidence.at(&format!("outstanding-{nic}-rate"), "RC READ", count);
    let p50 = |place| evidence.at("placement-p50", place, 1.0);
    let rate = |place| evidence.at("placement-rate", place, 64.0);
    vec![
        DOORBELLS
            .claim("16 descriptors a doorbell over 1, one core", ratio(batches(16.0), batches(1.0)))
            .at_least(1.1),
        LITTLE
            .claim(
                "16 outstanding over 1, READs, ConnectX-5",
                ratio(thread("connectx-5", 16.0), thread("connectx-5", 1.0)),
            )
            .at_least(5.0)
            .at_most(16.2),
        ONE_THREAD
            .claim(
                "READs with 32 outstanding, one thread, Connect-IB, millions per second",
                thread("connect-ib", 32.0),
            )
            .at_least(8.72)
            .at_most(13.08)
            .published(10.9),
        OFF_PATH
            .claim(
                "median through an off-path SmartNIC over a host's core, 1 thread",
                ratio(p50("off-path SmartNIC"), p50("a core of a host")),
            )
            .at_least(1.0),
        SWITCH
            .claim(
                "rate through a switch over none, 64 threads",
                ratio(rate("switch"), rate("no middlebox")),
            )
            .at_least(0.9),
    ]
}
