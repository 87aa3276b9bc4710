//! The last READs and atomics of each server queue pair: which ones its responder remembers.

use alloc::boxed::Box;
use alloc::vec;

use crate::ids::ServerQpId;
use crate::journal::{Extent, OwnRead, PAST_READS, PastRead};
use crate::mail::{Kind, Request};
use crate::policy::Access;
use crate::wire::{ClientPsn, Psn, ServerPsn};

/// The last READs and atomics of each server queue pair, in the order of their PSNs.
pub(crate) struct PastReads {
    rings: Box<[[Cell; PAST_READS]]>,
    /// Where in each ring the next one goes: apart, since the rings are large.
    next: Box<[u8]>,
}

/// A READ or an atomic that was bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Past {
    known: PastRead,
    /// Of one of the owner's, the PSN behind it.
    end: Option<ClientPsn>,
}

/// The same in half a cache line. A PSN has 24 bits: other values mean that there is none.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Cell {
    server_psn: u32,
    end: u32,
    /// Of a READ that may be asked for again as it was; of others, none.
    psn: u32,
    packets: u32,
    start: u64,
    remote_key: u32,
    len: u32,
}

/// No PSN.
const NONE: u32 = u32::MAX;

impl Cell {
    const EMPTY: Cell = Cell {
        server_psn: NONE,
        end: NONE,
        psn: NONE,
        packets: 0,
        start: 0,
        remote_key: 0,
        len: 0,
    };

    #[inline(always)]
    fn of(past: &Past) -> Cell {
        let Past { known: PastRead { server_psn, read }, end } = past;
        let empty = Cell {
            server_psn: server_psn.to_wire().value(),
            end: end.map_or(NONE, |end| end.to_wire().value()),
            ..Cell::EMPTY
        };
        match read {
            None => empty,
            Some(OwnRead { psn, packets, extent: Extent { remote_key, start, len } }) => Cell {
                psn: psn.to_wire().value(),
                packets: *packets,
                start: *start,
                remote_key: *remote_key,
                len: *len,
                ..empty
            },
        }
    }

    fn get(&self) -> Option<Past> {
        let psn = |value| (value != NONE).then_some(Psn::new(value));
        let Cell { packets, start, remote_key, len, .. } = *self;
        let extent = Extent { remote_key, start, len };
        let read = psn(self.psn).map(ClientPsn::from_wire);
        let read = read.map(|psn| OwnRead { psn, packets, extent });
        let server_psn = ServerPsn::from_wire(psn(self.server_psn)?);
        let end = psn(self.end).map(ClientPsn::from_wire);
        Some(Past { known: PastRead { server_psn, read }, end })
    }

    /// Changes what is there, if anything is; what `change` returns then.
    fn change<T>(&mut self, change: impl FnOnce(&mut Past) -> T) -> Option<T> {
        let mut past = self.get()?;
        let changed = change(&mut past);
        *self = Cell::of(&past);
        Some(changed)
    }
}

impl PastReads {
    pub(super) fn new(connections_max: usize) -> PastReads {
        PastReads {
            rings: vec![[Cell::EMPTY; PAST_READS]; connections_max].into(),
            next: vec![0; connections_max].into(),
        }
    }

    /// A READ or an atomic gets its PSN. A READ may be asked for again with this access.
    // Where it is called, what kind it is and its access are in registers.
    #[inline(always)]
    pub(crate) fn note_bound(
        &mut self,
        request: &Request,
        access: Option<Access>,
        server_psn: ServerPsn,
    ) {
        let owners = request.client == request.server_qp.owner();
        let read = access.filter(|_| owners && request.kind == Kind::Read);
        let read = read.map(|access| own_read(request.origin.psn, request.packets, &access));
        let end = owners.then_some(request.origin.psn.add(request.packets));
        self.note(request.server_qp, PastRead { server_psn, read }, end);
    }

    /// A READ or an atomic was bound.
    #[inline(always)]
    pub(super) fn note(&mut self, id: ServerQpId, known: PastRead, end: Option<ClientPsn>) {
        let (ring, next) = (self.rings.get_mut(id.index()), self.next.get_mut(id.index()));
        if let (Some(ring), Some(next)) = (ring, next)
            && let Some(oldest) = ring.get_mut(usize::from(*next) % PAST_READS)
        {
            *oldest = Cell::of(&Past { known, end });
            *next = (*next + 1) % PAST_READS as u8;
        }
    }

    /// Reads a little of where the next one goes.
    #[inline]
    pub(crate) fn touch(&self, id: ServerQpId) -> u64 {
        let at = self.ring(id).and_then(|(ring, next)| ring.get(next));
        at.map_or(0, |cell| cell.end.into())
    }

    /// All of a server queue pair, oldest first.
    pub(super) fn known(&self, id: ServerQpId) -> impl Iterator<Item = PastRead> {
        let one = self.ring(id).into_iter();
        one.flat_map(|(ring, next)| {
            let (newer, older) = ring.split_at_checked(next).unwrap_or((ring, &[]));
            older.iter().chain(newer).filter_map(Cell::get).map(|past| past.known)
        })
    }

    pub(super) fn reset(&mut self, id: ServerQpId) {
        let (ring, next) = (self.rings.get_mut(id.index()), self.next.get_mut(id.index()));
        if let (Some(ring), Some(next)) = (ring, next) {
            (*ring, *next) = ([Cell::EMPTY; PAST_READS], 0);
        }
    }

    /// A ring, and where in it the next one goes, which is less than [`PAST_READS`].
    #[inline]
    fn ring(&self, id: ServerQpId) -> Option<(&[Cell; PAST_READS], usize)> {
        let next = usize::from(*self.next.get(id.index())?);
        Some((self.rings.get(id.index())?, next % PAST_READS))
    }

    /// A READ or an atomic passed before the translation. One that is known keeps its place,
    /// whatever passed since; of a READ that is asked for again from a later packet on, some
    /// responders forget what is before that.
    pub(super) fn note_passed(&mut self, id: ServerQpId, passed: PastRead) {
        let Some(ring) = self.rings.get_mut(id.index()) else { return };
        // Whether this is it, which is then known as it was asked for last.
        let renew = |past: &mut Past| match (past.known.read, passed.read) {
            (Some(read), Some(asked)) if skipped(&read, asked.psn) < read.packets => {
                past.known = passed;
                true
            }
            _ => past.known.server_psn == passed.server_psn,
        };
        if ring.iter_mut().any(|cell| cell.change(renew) == Some(true)) {
            return;
        }
        let packets = passed.read.map_or(1, |read| read.packets);
        let psn = ClientPsn::from_wire(passed.server_psn.to_wire());
        self.note(id, passed, Some(psn.add(packets)));
        self.sink_newest(id);
    }

    /// Puts what was noted last where its PSN belongs: its client may have asked for it before the
    /// connection was watched.
    fn sink_newest(&mut self, id: ServerQpId) {
        let Some((_, next)) = self.ring(id) else { return };
        let Some(ring) = self.rings.get_mut(id.index()) else { return };
        let place = |back: usize| (next + PAST_READS - back) % PAST_READS;
        let psn = |cell: &Cell| cell.get().map(|past| past.known.server_psn);
        for (newer, older) in (1..PAST_READS).map(|back| (place(back), place(back + 1))) {
            let (this, before) = (ring.get(newer).and_then(psn), ring.get(older).and_then(psn));
            let (Some(this), Some(before)) = (this, before) else { return };
            if !before.is_after(this) {
                return;
            }
            ring.swap(newer, older);
        }
    }

    /// The path MTU is known now, and with it how many PSNs each READ takes that has passed.
    pub(super) fn tell_path_mtu(&mut self, id: ServerQpId, path_mtu: u16) {
        let Some(ring) = self.rings.get_mut(id.index()) else { return };
        for cell in ring {
            cell.change(|past| {
                if let Some(read) = &mut past.known.read {
                    read.packets = packets_of(read.extent.len, path_mtu);
                    past.end = Some(read.psn.add(read.packets));
                }
            });
        }
    }

    /// Whether the owner has had so many READs and atomics done behind this PSN that it cannot wait
    /// for the one before it: it has at most `depth` outstanding. One that it repeated counts once,
    /// wherever the repeat began.
    pub(super) fn is_past(&self, id: ServerQpId, end: ClientPsn, depth: usize) -> bool {
        depth > 0 && self.count_behind(id, end) >= depth
    }

    /// READs and atomics of the owner behind this PSN.
    pub(super) fn count_behind(&self, id: ServerQpId, end: ClientPsn) -> usize {
        let Some((ring, _)) = self.ring(id) else { return 0 };
        let ends =
            || ring.iter().filter_map(|cell| cell.get()?.end).filter(|one| one.is_after(end));
        let is_new = |(i, one): &(usize, ClientPsn)| !ends().take(*i).any(|other| other == *one);
        ends().enumerate().filter(is_new).count()
    }

    /// The READ among the last `depth` that this one repeats, wholly or from a later packet of
    /// `path_mtu` bytes on. Of one that was steered the log has another address.
    pub(super) fn find(
        &self,
        request: &Request,
        depth: usize,
        path_mtu: u16,
    ) -> Option<(ServerPsn, OwnRead)> {
        let access = request.access?;
        let (ring, next) = self.ring(request.server_qp)?;
        let newest_first = (1..=depth.min(PAST_READS)).map(|back| next + PAST_READS - back);
        let mut newest_first = newest_first.filter_map(|at| ring.get(at % PAST_READS)?.get());
        newest_first.find_map(|Past { known: PastRead { server_psn, read }, .. }| {
            let read = read?;
            let skipped = skipped(&read, request.origin.psn);
            let start = read.extent.start.wrapping_add(u64::from(skipped) * u64::from(path_mtu));
            let same = (start, read.extent.remote_key) == (access.start, access.remote_key);
            let covers = same && skipped + request.packets <= read.packets;
            covers.then_some((server_psn, read))
        })
    }
}

pub(super) fn own_read(psn: ClientPsn, packets: u32, access: &Access) -> OwnRead {
    let Access { remote_key, start, len, .. } = *access;
    OwnRead { psn, packets, extent: Extent { remote_key, start, len } }
}

/// Packets of a READ's response of so many bytes.
pub(super) fn packets_of(len: u32, path_mtu: u16) -> u32 {
    len.div_ceil(u32::from(path_mtu).max(1)).max(1)
}

/// Packets before those that the client asks for. Less than 2^24.
pub(super) fn skipped(read: &OwnRead, psn: ClientPsn) -> u32 {
    psn.offset_from(read.psn)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn past() -> impl Strategy<Value = Past> {
        let edge = prop::sample::select(vec![0, (1 << 24) - 1]);
        let psn = move || prop_oneof![edge.clone(), 0u32..1 << 24].prop_map(Psn::new);
        let extent = any::<(u32, u64, u32)>().prop_map(|(remote_key, start, len)| Extent {
            remote_key,
            start,
            len,
        });
        let read = (psn(), 0u32..1 << 22, extent).prop_map(|(psn, packets, extent)| OwnRead {
            psn: ClientPsn::from_wire(psn),
            packets,
            extent,
        });
        (psn(), prop::option::of(read), prop::option::of(psn())).prop_map(|(psn, read, end)| Past {
            known: PastRead { server_psn: ServerPsn::from_wire(psn), read },
            end: end.map(ClientPsn::from_wire),
        })
    }

    proptest! {
        #[test]
        fn a_cell_keeps_all_of_it(past in past()) {
            prop_assert_eq!(Cell::of(&past).get(), Some(past));
        }
    }

    #[test]
    fn two_cells_fill_a_cache_line() {
        assert_eq!(size_of::<Cell>(), 32);
        assert!(Cell::EMPTY.get().is_none());
    }
}
