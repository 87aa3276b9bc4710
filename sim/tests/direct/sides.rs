//! Packets that no end of a connection sends: from the wrong side, and with a tag put on.

use qpmux_engine::policy::{Directory, Policy, TrustBy};
use qpmux_engine::wire::Psn;
use qpmux_engine::{Config, Nanos, Side};
use qpmux_sim::host::Host;

use super::clients::link;
use super::packets::{self, ACK};
use super::{directory, policy};

fn write(client: u32, psn: u32) -> Vec<u8> {
    link(client).frame(&packets::write(Psn::new(psn), &[7; 8])).unwrap()
}

fn acknowledge(client: u32, psn: u32) -> Vec<u8> {
    let packet = packets::answer(Psn::new(psn), ACK, psn + 1);
    link(client).reversed().frame(&packet).unwrap()
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
