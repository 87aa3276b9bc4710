//! Frames beside a conversation that belong to its connection and are none of its packets. The
//! middlebox drops each, counts it by its name, and does nothing else; or, if the server is the one
//! that asks and the client answers, lets it pass as it is.

use qpmux_engine::wire::{
    AethRepr, Bth, Classified, Extension, Layout, Msn, Opcode, Psn, RethRepr, Syndrome, classify,
    icrc,
};
use qpmux_engine::{Counters, DropReason, GeneratedKind, Side};

use super::plan::{Plan, shard_of};
use super::workload::{BASE, rkey};
use super::world::World;
use crate::faults::Leg;
use crate::rc::Packet;

/// First of the eight opcodes of reliable connections that nobody uses (IBTA vol. 1, table 38).
const UNUSED_OPCODE: u8 = 0x18;
/// Path MTU up to which a READ of 4 GiB is longer than any that can be told apart, bytes: a quarter
/// of the PSNs are 2^22.
const PMTU_MAX: usize = 512;

/// A frame that travels beside `frame` on a leg of connection `i`; which one, `number` says. Why it
/// is dropped; `None` if it passes. None comes to the ends.
pub(super) fn beside(
    plan: &Plan,
    leg: Leg,
    i: u32,
    frame: &[u8],
    number: u64,
) -> Option<(Vec<u8>, Option<DropReason>)> {
    let client = plan.clients.get(i as usize)?;
    match leg {
        Leg::ClientToBox | Leg::ServerToBox if number % 16 >= 12 => {
            other_way(plan, leg, i, frame).map(|frame| (frame, None))
        }
        Leg::ClientToBox if number % 16 >= 8 && client.pmtu <= PMTU_MAX => {
            endless_read(plan, i).map(|frame| (frame, Some(DropReason::Malformed)))
        }
        Leg::ClientToBox | Leg::ServerToBox => {
            let opcode = UNUSED_OPCODE + (number % 8) as u8;
            with_opcode(frame, opcode).map(|frame| (frame, Some(DropReason::UnknownOpcode)))
        }
        Leg::BoxToServer | Leg::BoxToClient => None,
    }
}

/// Asks again, before anything else was asked, for more than fits the PSNs.
fn endless_read(plan: &Plan, i: u32) -> Option<Vec<u8>> {
    let client = &plan.clients[i as usize];
    let reth =
        RethRepr { virtual_address: BASE, remote_key: rkey(client.domain), dma_length: u32::MAX };
    let packet = Packet {
        opcode: Opcode::ReadRequest,
        psn: Psn::new(client.psn).sub(1),
        ack_request: true,
        extension: Extension::Reth(reth),
        payload: &[],
    };
    plan.link(i).frame(&packet)
}

/// What the server asks of its client, or the client's answer to that. Its PSN is one of another
/// sequence than that of `frame`, and happens to be the same.
fn other_way(plan: &Plan, leg: Leg, i: u32, frame: &[u8]) -> Option<Vec<u8>> {
    let Ok(Classified::Rc(Layout { psn, .. })) = classify(frame) else { return None };
    let aeth = AethRepr { syndrome: Syndrome::Ack { credits: 31 }, msn: Msn::new(1) };
    let (link, opcode, extension, payload): (_, _, _, &[u8]) = match leg {
        Leg::ServerToBox => (plan.link(i).reversed(), Opcode::SendOnly, Extension::None, &[0; 8]),
        _ => (plan.link(i), Opcode::Acknowledge, Extension::Aeth(aeth), &[]),
    };
    let ack_request = opcode.is_request();
    link.frame(&Packet { opcode, psn, ack_request, extension, payload })
}

/// The same frame with another opcode, and the ICRC that it must have then.
fn with_opcode(frame: &[u8], opcode: u8) -> Option<Vec<u8>> {
    let Ok(Classified::Rc(layout)) = classify(frame) else { return None };
    let mut frame = frame.to_vec();
    let header = frame.get_mut(usize::from(layout.bth)..)?;
    Bth::new_checked(header).ok()?.set_opcode(opcode);
    icrc::store(&mut frame, &layout);
    Some(frame)
}

/// All that an engine counts, but the drops for one reason.
fn all_but(counters: &Counters, reason: Option<DropReason>) -> Vec<u64> {
    let totals = counters.totals().map(|(_, count)| count);
    let drops = DropReason::ALL.iter().filter(|other| Some(**other) != reason);
    let made = GeneratedKind::ALL.iter().map(|kind| counters.generated(*kind));
    totals.chain(drops.map(|reason| counters.dropped(*reason))).chain(made).collect()
}

impl World<'_> {
    /// Such a frame comes to the middlebox. Of a client that is out of service all requests are
    /// dropped for that.
    pub(super) fn offer_noise(
        &mut self,
        leg: Leg,
        i: u32,
        frame: &[u8],
        reason: Option<DropReason>,
    ) {
        let side = if leg.is_client_side() { Side::Client } else { Side::Server };
        let elsewhere = u8::from(self.plan.asymmetric && side == Side::Server);
        let shard = shard_of(i, self.shards) + elsewhere;
        let before = self.host.counters();
        let sent = self.with_host(|host, now, emit| host.offer(shard, side, now, frame, emit));
        let after = self.host.counters();
        let counted = |reason| {
            after.dropped(reason) == before.dropped(reason) + 1
                && all_but(&after, Some(reason)) == all_but(&before, Some(reason))
        };
        let Some(reason) = reason else {
            let mut passed = before.clone();
            passed.passed += 1;
            let as_it_is = matches!(&sent[..], [(to, same)] if *to != side && same == frame);
            if !as_it_is || all_but(&after, None) != all_but(&passed, None) {
                let text = || format!("connection {i}: what the server asks for does not pass");
                self.violations.record("I-S14", self.now, text);
            }
            self.passed += 1;
            return;
        };
        let out_of_service = after.out_of_service > 0 && counted(DropReason::OutOfService);
        if !sent.is_empty() || !(counted(reason) || out_of_service) {
            let name = reason.name();
            let text = || format!("connection {i}: {name} was not what was counted, or not all");
            self.violations.record("noise", self.now, text);
        }
        self.dispatch(sent, &[]);
    }
}
