//! What a configuration says, as clients and servers see it.

use qpmux_engine::policy::{Atomics, ByteOrder, Choices};
use qpmux_sim::memory::Memory;

use super::config::with;
use super::translated::{Bench, CLIENTS, head_of};
use crate::report::Report;

const UPDATES: u64 = 40;

/// Clients update keys of their own, at a server that keeps words in this order, through an engine
/// that is told what `server_memory` says, and replaces atomics. The report, and what the head
/// words hold.
fn updated(words: ByteOrder, server_memory: &str) -> (Report, Vec<u64>) {
    let settings = with(&format!(
        "[policy]\nmap = 'writes'\ntrust = 'observed'\natomics = 'replace'\n\
        [network]\npath_mtu = 1024\ndepth = 16\n[limits]\npacket_lifetime_ns = 1000000\n\
        {server_memory}"
    ));
    let mut bench = Bench::new(settings.unwrap().engine().unwrap(), Memory::with_words(words));
    (1..=UPDATES).for_each(|number| bench.update(number));
    let report = bench.finish();
    let heads = (0..CLIENTS.into()).map(|client| bench.memory.read_u64(head_of(client)));
    (report, heads.collect())
}

fn table(byte_order: &str) -> String {
    format!("[[server_memory]]\nserver = '10.0.0.2'\nbyte_order = '{byte_order}'\n")
}

#[test]
fn replaced_atomics_store_words_in_their_servers_byte_order() {
    for (words, server_memory) in
        [(ByteOrder::Little, String::new()), (ByteOrder::Big, table("big"))]
    {
        let (report, heads) = updated(words, &server_memory);
        assert_eq!(heads, [UPDATES; CLIENTS as usize], "{words:?}");
        assert!(report.totals["replaced_atomics"] > UPDATES, "{words:?}: {report:?}");
        assert_eq!(report.totals["words_contradicted"], 0, "{words:?}");
        assert!(report.kept["value_unknown"] > 0, "{report:?}");
    }
}

#[test]
fn atomics_are_replaced_while_the_policy_says_so() {
    let settings = with(
        "[policy]\nmap = 'writes'\ntrust = 'observed'\n[policy.most]\natomics = 'replace'\n\
        [network]\npath_mtu = 1024\ndepth = 16\n[limits]\npacket_lifetime_ns = 1000000\n",
    );
    let mut bench =
        Bench::new(settings.unwrap().engine().unwrap(), Memory::with_words(ByteOrder::Little));
    let keeps = bench.host.engine().choices();
    let replaces = Choices { atomics: Atomics::Replace, ..keeps };
    let mut counts = vec![0];
    for (phase, to) in (0..).zip([keeps, replaces, keeps, replaces]) {
        bench.host.switch(to).unwrap();
        (1..=UPDATES).for_each(|number| bench.update(UPDATES * phase + number));
        counts.push(bench.host.engine().counters().replaced_atomics);
    }
    let replaced: Vec<bool> = counts.windows(2).map(|pair| pair[0] < pair[1]).collect();
    assert_eq!(replaced, [false, true, false, true], "{counts:?}");
    let report = bench.finish();
    let heads = (0..CLIENTS.into()).map(|client| bench.memory.read_u64(head_of(client)));
    assert!(heads.eq([4 * UPDATES; CLIENTS as usize]));
    assert_eq!(report.totals["words_contradicted"], 0);
}
