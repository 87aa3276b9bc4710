//! What was lost between two captures of one run, one taken at each end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use qpmux_engine::wire::{Psn, icrc};
use qpmux_traces::CaptureReader;

use super::first_pass::{Flow, believable, flow_of};
use super::script::{LeftOut, Script, ScriptedConnection};

/// PSNs of 24 bits, counted on beyond their end. The first may be gone back from.
#[derive(Clone, Copy, Debug, Default)]
struct Unwrap {
    top: Option<u64>,
}

impl Unwrap {
    fn of(&mut self, psn: Psn) -> u64 {
        let top = self.top.unwrap_or((1 << 24) | u64::from(psn.value()));
        let step = psn.signed_offset_from(Psn::new((top & 0xff_ffff) as u32));
        let unwrapped = top.saturating_add_signed(step.into());
        self.top = Some(top.max(unwrapped));
        unwrapped
    }
}

/// One packet as both ends see it: PSN, and the ICRC, which covers all that no router changes.
type Sight = (u64, u32);

/// The packets of one direction of a connection, in the order of the capture.
#[derive(Default)]
struct Direction {
    psns: Unwrap,
    sights: Vec<Sight>,
}

/// Requests and answers of every connection of a workload, as one capture shows them.
type Captured = Vec<[Direction; 2]>;

const REQUESTS: usize = 0;
const ANSWERS: usize = 1;

/// Packets of one direction that were lost: PSN, and which transmission of that PSN, from 0.
pub(super) type Lost = BTreeSet<(u64, u32)>;

/// What the two captures show of the wire between them.
#[derive(Default)]
pub(super) struct RecordedLosses {
    /// Lost requests and lost answers, by connection of the workload.
    lost: Vec<[Lost; 2]>,
    /// Packets that arrived but were never sent.
    pub(super) unsent: u64,
}

impl RecordedLosses {
    /// Compares `capture` and `other`, as far as the connections of a workload go. Which of them
    /// was taken at the clients is told from what is missing in which direction.
    ///
    /// # Errors
    /// When a capture cannot be read, or the two do not show the same run.
    pub(super) fn between(script: &Script, capture: &Path, other: &Path) -> anyhow::Result<Self> {
        let [a, b] = [read(script, capture)?, read(script, other)?];
        let lost = losses(&a, &b);
        let reverse = losses(&b, &a);
        // Seen from the wrong ends, what is lost has arrived without being sent.
        let (lost, unsent) = match count(&lost) < count(&reverse) {
            true => (reverse, count(&lost)),
            false => (lost, count(&reverse)),
        };
        let packets = |all: &Captured| all.iter().flatten().map(|d| d.sights.len() as u64).sum();
        let fewest = u64::min(packets(&a), packets(&b));
        if unsent * 2 > fewest {
            anyhow::bail!(
                "{} does not show the run of {} from its other end: of at least {fewest} packets \
                 of the same connections, {unsent} arrived that were never sent",
                other.display(),
                capture.display()
            );
        }
        Ok(RecordedLosses { lost, unsent })
    }

    /// Lost requests and lost answers.
    pub(super) fn counts(&self) -> [u64; 2] {
        [REQUESTS, ANSWERS].map(|way| self.lost.iter().map(|lost| lost[way].len() as u64).sum())
    }

    /// The same packets in the run that is driven, by connection: requests and answers.
    pub(super) fn into_wires(self) -> Vec<[RecordedWire; 2]> {
        let wire = |lost| RecordedWire { lost, ..RecordedWire::default() };
        self.lost.into_iter().map(|lost| lost.map(wire)).collect()
    }
}

/// One direction of a connection that loses what was lost in a recording.
#[derive(Default)]
pub(super) struct RecordedWire {
    lost: Lost,
    psns: Unwrap,
    /// Transmissions so far, of PSNs that were lost in the recording.
    sent: BTreeMap<u64, u32>,
}

impl RecordedWire {
    /// Whether the next packet, which has this PSN, is lost.
    pub(super) fn loses(&mut self, psn: Psn) -> bool {
        let psn = self.psns.of(psn);
        if self.lost.range((psn, 0)..=(psn, u32::MAX)).next().is_none() {
            return false;
        }
        let sent = self.sent.entry(psn).or_default();
        let ordinal = *sent;
        *sent += 1;
        self.lost.contains(&(psn, ordinal))
    }
}

/// What was lost, if `clients` was captured at the clients and `servers` at the servers.
fn losses(clients: &Captured, servers: &Captured) -> Vec<[Lost; 2]> {
    let each = |(client, server): (&[Direction; 2], &[Direction; 2])| {
        [
            missing(&client[REQUESTS].sights, &server[REQUESTS].sights),
            missing(&server[ANSWERS].sights, &client[ANSWERS].sights),
        ]
    };
    clients.iter().zip(servers).map(each).collect()
}

fn count(lost: &[[Lost; 2]]) -> u64 {
    lost.iter().flatten().map(|lost| lost.len() as u64).sum()
}

/// Which of `sent` are not in `arrived`. Of equal packets the last count as those that arrived:
/// mostly a request is repeated because it did not arrive before.
fn missing(sent: &[Sight], arrived: &[Sight]) -> Lost {
    let mut left: BTreeMap<Sight, u32> = BTreeMap::new();
    arrived.iter().for_each(|sight| *left.entry(*sight).or_default() += 1);
    let mut gone = Vec::new();
    for (i, sight) in sent.iter().enumerate().rev() {
        match left.get_mut(sight) {
            Some(n) if *n > 0 => *n -= 1,
            _ => gone.push(i),
        }
    }
    let mut ordinals: BTreeMap<u64, u32> = BTreeMap::new();
    let mut lost = Lost::new();
    for (i, (psn, _)) in sent.iter().enumerate() {
        let ordinal = ordinals.entry(*psn).or_default();
        if gone.last() == Some(&i) {
            gone.pop();
            lost.insert((*psn, *ordinal));
        }
        *ordinal += 1;
    }
    lost
}

fn read(script: &Script, path: &Path) -> anyhow::Result<Captured> {
    let to_server = |c: &ScriptedConnection| (c.client.ip, c.server.ip, c.server.qpn);
    let to_client = |c: &ScriptedConnection| (c.server.ip, c.client.ip, c.client.qpn);
    let mut flows: BTreeMap<Flow, (usize, usize)> = BTreeMap::new();
    for (i, c) in script.connections.iter().enumerate() {
        flows.insert(to_server(c), (i, REQUESTS));
        flows.insert(to_client(c), (i, ANSWERS));
    }
    let mut captured = Captured::new();
    captured.resize_with(script.connections.len(), Default::default);
    let mut packets = 0u64;
    let mut reader = CaptureReader::open(path)?;
    while let Some(packet) = reader.next_packet()? {
        let uncounted = &mut LeftOut::default();
        let Some(layout) = believable(packet.data, packet.is_truncated(), uncounted) else {
            continue;
        };
        let Some(&(connection, direction)) = flows.get(&flow_of(&layout)) else { continue };
        let direction = &mut captured[connection][direction];
        let psn = direction.psns.of(layout.psn);
        direction.sights.push((psn, icrc::compute(packet.data, &layout)));
        packets += 1;
    }
    (packets > 0)
        .then_some(captured)
        .with_context(|| format!("{}: no packet of the connections to replay", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of a wire to packets with these PSNs.
    fn fates(lost: &[(u64, u32)], psns: &[u32]) -> Vec<bool> {
        let mut wire =
            RecordedWire { lost: lost.iter().copied().collect(), ..RecordedWire::default() };
        psns.iter().map(|psn| wire.loses(Psn::new(*psn))).collect()
    }

    #[test]
    fn a_loss_is_known_by_its_transmission() {
        let sent = [(1, 10), (2, 20), (2, 21), (2, 22), (3, 30)];
        assert_eq!(missing(&sent, &[(1, 10), (2, 21), (3, 30)]), Lost::from([(2, 0), (2, 2)]));
        assert_eq!(missing(&sent, &sent), Lost::new());
        // Overtaking is no loss.
        assert_eq!(missing(&sent[..3], &[(2, 21), (2, 20), (1, 10)]), Lost::new());
    }

    #[test]
    fn of_equal_packets_the_last_arrived() {
        let sent = [(7, 1), (7, 1), (7, 1)];
        assert_eq!(missing(&sent, &[(7, 1)]), Lost::from([(7, 0), (7, 1)]));
        assert_eq!(missing(&sent, &[]).len(), 3);
        // What arrived more often than it was sent makes up for nothing else.
        assert_eq!(missing(&[(6, 1), (7, 1)], &[(7, 1), (7, 1)]), Lost::from([(6, 0)]));
    }

    #[test]
    fn psns_go_on_beyond_their_end() {
        let mut psns = Unwrap::default();
        let unwrapped = [0xff_fffe, 1, 0xff_ffff, 0, 2].map(|psn| psns.of(Psn::new(psn)));
        assert_eq!(unwrapped, [0x1ff_fffe, 0x200_0001, 0x1ff_ffff, 0x200_0000, 0x200_0002]);
    }

    #[test]
    fn the_same_transmissions_are_lost_again() {
        let first = 1 << 24 | 5;
        let lost = [(first, 0), (first + 1, 1)];
        assert_eq!(fates(&lost, &[5, 6, 5, 6, 6, 5]), [true, false, false, true, false, false]);
    }
}
