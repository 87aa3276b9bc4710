//! Packets that no end of a connection sends: from the wrong side, and with a tag put on.

use qpmux_engine::policy::{Directory, Policy, TrustBy};
use qpmux_engine::wire::{AethRepr, Extension, Msn, Opcode, Psn, RethRepr, Syndrome};
use qpmux_engine::{Config, Nanos, Side};
use qpmux_sim::host::Host;
use qpmux_sim::rc::Packet;

use super::{KEY, directory, link, policy};

fn write(client: u32, psn: u32) -> Vec<u8> {
    let reth = RethRepr { virtual_address: 64, remote_key: KEY, dma_length: 8 };
    let (psn, extension) = (Psn::new(psn), Extension::Reth(reth));
    let opcode = Opcode::WriteOnly;
    let packet = Packet { opcode, psn, ack_request: true, extension, payload: &[7; 8] };
    let mut frame = [0; 512];
    let len = link(client).emit(&packet, 0, &mut frame).unwrap();
    frame[..len].to_vec()
}

fn acknowledge(client: u32, psn: u32) -> Vec<u8> {
    let aeth = AethRepr { syndrome: Syndrome::Ack { credits: 31 }, msn: Msn::new(psn + 1) };
    let (psn, extension) = (Psn::new(psn), Extension::Aeth(aeth));
    let opcode = Opcode::Acknowledge;
    let packet = Packet { opcode, psn, ack_request: false, extension, payload: &[] };
    let mut frame = [0; 512];
    let len = link(client).reversed().emit(&packet, 0, &mut frame).unwrap();
    frame[..len].to_vec()
}

/// How many frames that brings out.
fn offer(host: &mut Host, side: Side, frame: &[u8]) -> usize {
    let mut sent = 0;
    host.offer(0, side, Nanos(1_000), frame, &mut |_, _| sent += 1);
    sent
}

/// Whether nobody is learnt who says from one side to be both ends.
pub(crate) fn one_side_teaches_nothing(config: &Config) -> bool {
    let learning = Policy { trust: TrustBy::Observation, ..policy() };
    let mut host = Host::new(config, &learning, &Directory::empty(), 1).unwrap();
    for psn in 0..20 {
        offer(&mut host, Side::Client, &write(0, psn));
        offer(&mut host, Side::Client, &acknowledge(0, psn));
    }
    host.counters().learnt == 0
}

/// Whether a request with a VLAN tag is not taken for one of a connection without.
pub(crate) fn tags_are_the_connections(config: &Config) -> bool {
    let mut host = Host::new(config, &policy(), &directory(), 1).unwrap();
    let mut tagged = write(0, 0);
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    offer(&mut host, Side::Client, &tagged) == 0
        && offer(&mut host, Side::Client, &write(0, 0)) == 1
}
