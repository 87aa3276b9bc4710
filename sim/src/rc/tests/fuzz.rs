//! No frame makes a model panic.

use proptest::prelude::*;
use qpmux_engine::wire::{Classified, classify, icrc};

use super::*;

/// Runs an exchange in which frames are changed at random places, with the ICRC put right.
fn run_changed(seed: u64, every: u64) {
    let mut random = faults::Random::new(seed);
    let (mut client, server) = configs(random.below(1 << 24) as u32);
    (client.retry_count, client.timeout) = (3, 4);
    let start = client.start_psn;
    let audit = RequestAuditConfig::new(server.link.clone(), start);
    let answers = AnswerAuditConfig::new(client.link.clone(), start);
    let mut answers = AnswerAudit::new(answers);
    let (mut client, mut server) = (Requester::new(client), Responder::new(server));
    let (mut memory, mut log, mut audit) =
        (Memory::new(), EffectLog::new(), RequestAudit::new(audit));
    for verb in faults::random_verbs(&mut random) {
        client.post(verb);
    }
    let mut buffer = [0; 5000];
    for step in 0..400_u64 {
        let now = step * 10_000;
        while let Some(length) = client.poll_transmit(now, &mut buffer) {
            change(&mut random, every, &mut buffer[..length]);
            audit.observe_request(now, &buffer[..length]);
            answers.observe_request(now, &buffer[..length]);
            server.handle_frame(now, &buffer[..length], &mut memory, &mut log);
        }
        while let Some(length) = server.poll_transmit(now + 5_000, &mut buffer) {
            change(&mut random, every, &mut buffer[..length]);
            audit.observe_answer(now, &buffer[..length]);
            answers.observe_answer(now, &buffer[..length]);
            client.handle_frame(now + 5_000, &buffer[..length]);
        }
        client.handle_timeout(now);
    }
    while client.poll_completion().is_some() {}
    assert_eq!(check(&Memory::new(), &log, &memory), Ok(()));
    assert!(client.pending() == 0 || !client.is_dead());
}

fn change(random: &mut faults::Random, every: u64, frame: &mut [u8]) {
    if random.below(every) != 0 {
        return;
    }
    for _ in 0..=random.below(3) {
        // Mostly the transport headers.
        let at = 34 + random.below(60) as usize;
        if let Some(byte) = frame.get_mut(at) {
            *byte = random.below(256) as u8;
        }
    }
    if let Ok(Classified::Rc(layout)) = classify(frame) {
        icrc::store(frame, &layout);
    }
}

#[test]
fn changed_frames() {
    for seed in 0..1_000 {
        run_changed(seed, 1 + seed % 20);
    }
}

proptest! {
    #[test]
    fn any_bytes(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (client, server) = configs(0);
        let config = RequestAuditConfig::new(server.link.clone(), client.start_psn);
        let mut audit = RequestAudit::new(config);
        let (mut memory, mut log) = (Memory::new(), EffectLog::new());
        Responder::new(server).handle_frame(0, &frame, &mut memory, &mut log);
        Requester::new(client).handle_frame(0, &frame);
        audit.observe_request(0, &frame);
        audit.observe_answer(0, &frame);
    }
}
