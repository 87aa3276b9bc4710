//! What happens when a table is full.

use super::*;
use crate::connections::EndReason;

/// Room for two connections.
fn tiny() -> Config {
    Config { flows_max: 4, connections_max: 2, ..Config::default() }
}

fn learn(watch: &mut Watch, client_qpn: u32) -> Pair {
    let mut pair = Pair::new(2, client_qpn, client_qpn + 0x1000, 0);
    (0..3).for_each(|_| watch.round_trip(&mut pair, Verb::Write));
    pair
}

#[test]
fn flows_beyond_the_limit_are_counted_and_not_learnt() {
    let mut watch = Watch::new(tiny());
    (0..4).for_each(|i| {
        learn(&mut watch, 0x10 + i);
    });
    assert_eq!(watch.learnt().len(), 2);
    assert_eq!(watch.learner.counters().flows_overflow, 2 * 2 * 3);
    assert_eq!(watch.learner.counters().flows_evicted, 0);
}

#[test]
fn idle_unpaired_flows_make_room_the_oldest_first() {
    let mut watch = Watch::new(tiny());
    // Requests without answers.
    for qpn in 0..4 {
        watch.see(&Pair::new(2, 1, 0x20 + qpn, 0).request(0, Verb::Write));
    }
    watch.now_ns += tiny().flow_idle_ns;
    watch.see(&Pair::new(2, 1, 0x20, 0).request(1, Verb::Write));
    learn(&mut watch, 0x10);
    assert_eq!(watch.learnt().len(), 1);
    assert_eq!(watch.learner.counters().flows_evicted, 2);
    let left: Vec<u32> = watch.learner.unpaired_flows().map(|flow| flow.dest_qp.value()).collect();
    assert_eq!(left, [0x23, 0x20]);
}

#[test]
fn idle_connections_make_room_unless_pinned() {
    let mut watch = Watch::new(tiny());
    learn(&mut watch, 0x10);
    let second = learn(&mut watch, 0x11);
    // The one that would be looked at first.
    let pinned = *watch.learner.connections().nth(1).unwrap();
    assert_eq!(names(&pinned), second.names());
    watch.learner.pin(pinned.id, true);
    watch.now_ns += tiny().connection_idle_ns;
    learn(&mut watch, 0x12);
    let left: Vec<u32> = watch.learner.connections().map(|c| c.client.qpn.value()).collect();
    assert_eq!(left, [0x12, 0x11]);
    let ended = watch.events.iter().find_map(|event| match event {
        Event::ConnectionEnded { connection, reason } => Some((names(connection).1, *reason)),
        Event::ConnectionLearnt(_) => None,
    });
    assert_eq!(ended, Some((0x10, EndReason::Idle)));
    assert_eq!(watch.learner.counters().connections_evicted, 1);
}

#[test]
fn connections_beyond_the_limit_are_counted() {
    let mut watch = Watch::new(Config { flows_max: 64, ..tiny() });
    (0..3).for_each(|i| {
        learn(&mut watch, 0x10 + i);
    });
    assert_eq!(watch.learnt().len(), 2);
    assert!(watch.learner.counters().connections_overflow > 0);
}

#[test]
fn nothing_is_paired_by_psn_while_flows_are_missing() {
    let config = Config { source_port: false, psn_matches: 2, flows_max: 2, ..Config::default() };
    let mut watch = Watch::new(config);
    let seen = Pair::new(2, 0x10, 0x20, 0);
    let other = Pair::new(2, 0x11, 0x21, 0);
    // The other one's requests find no place. Its answers would fit the first one's requests.
    for psn in 0..20 {
        watch.see(&seen.request(psn, Verb::Write));
        watch.see(&other.answer(psn, Verb::Write));
        watch.see(&other.request(psn, Verb::Write));
    }
    assert_eq!(watch.learnt(), []);
    assert_eq!(watch.learner.counters().flows_overflow, 20);
    // Once no unknown flow has been seen for a while, what is there can be relied upon again.
    watch.now_ns += config.flow_idle_ns;
    for psn in 20..23 {
        watch.see(&seen.request(psn, Verb::Write));
        watch.see(&other.answer(psn, Verb::Write));
    }
    assert_eq!(watch.learnt().len(), 1);
}

#[test]
fn too_many_candidates_are_no_evidence() {
    let config = Config { candidates_max: 3, psn_matches: 2, ..small() };
    let mut watch = Watch::new(config);
    for qpn in 0..4 {
        watch.see(&Pair::new(2, 1, 0x20 + qpn, 0).request(9000, Verb::Write));
    }
    learn(&mut watch, 0x10);
    assert_eq!(watch.learnt(), []);
    assert_eq!(watch.learner.counters().candidates_overflow, 3);
}

#[test]
fn events_wait_without_growing() {
    let mut learner = Learner::new(tiny());
    let mut now_ns = 0;
    // Connections come and go by idleness while nobody asks.
    for qpn in 0..20 {
        let pair = Pair::new(2, 0x10 + qpn, 0x30 + qpn, 0);
        for psn in 0..3 {
            for frame in [pair.request(psn, Verb::Write), pair.answer(psn, Verb::Write)] {
                now_ns += 1000;
                let Ok(Classified::Rc(layout)) = classify(&frame) else { panic!("RC") };
                learner.observe(now_ns, &layout, &frame);
            }
        }
        now_ns += tiny().connection_idle_ns;
    }
    let waiting = std::iter::from_fn(|| learner.poll_event()).count();
    assert!(waiting <= 2 * 2 + 1, "{waiting} events");
    assert!(learner.counters().connections_overflow > 0);
}

#[test]
fn zeros_in_the_configuration_are_taken_as_one() {
    let zero = Config {
        cm: true,
        handshakes_max: 0,
        handshake_timeout_ns: 0,
        flows_max: 0,
        connections_max: 0,
        recent_requests: 0,
        candidates_max: 0,
        source_port: true,
        psn: true,
        source_port_matches: 0,
        psn_matches: 0,
        far_psns: 0,
        epoch_requests: 0,
        flow_idle_ns: 0,
        connection_idle_ns: 0,
    };
    let mut watch = Watch::new(zero);
    learn(&mut watch, 0x10);
    assert_eq!(watch.learnt(), []);
}
