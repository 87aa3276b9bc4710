//! What atomics found, kept for clients that ask again (IBTA vol. 1, 9.7.5.1.1): also of those that
//! passed before the connection was translated.

use alloc::boxed::Box;
use alloc::vec;

use crate::ids::ClientId;
use crate::wire::{ClientPsn, Opcode};

/// The result of an atomic.
#[derive(Clone, Copy)]
pub(crate) struct AtomicResult {
    pub(crate) psn: ClientPsn,
    pub(crate) opcode: Opcode,
    pub(crate) original: u64,
}

/// An atomic that a client may ask for again.
#[derive(Clone, Copy)]
struct Cell {
    psn: ClientPsn,
    opcode: Opcode,
    /// `None` until its server has answered.
    original: Option<u64>,
}

/// The newest atomics of each client, as many as one may have outstanding.
pub(crate) struct Results {
    cells: Box<[Option<Cell>]>,
    /// The PSN of each cell that is not empty: those of a client in one cache line.
    psns: Box<[ClientPsn]>,
    /// Where in a client's ring the next one goes.
    next: Box<[u8]>,
    per_client: usize,
}

impl Results {
    /// `per_client` is at most 255.
    pub(crate) fn new(connections: usize, per_client: usize) -> Results {
        Results {
            cells: vec![None; connections * per_client].into(),
            psns: vec![ClientPsn::new(0); connections * per_client].into(),
            next: vec![0; connections].into(),
            per_client,
        }
    }

    /// Forgets all of a client.
    pub(crate) fn reset(&mut self, id: ClientId) {
        self.ring_mut(id).fill(None);
        if let Some(next) = self.next.get_mut(id.index()) {
            *next = 0;
        }
    }

    /// The result of the atomic at `psn`, if it is known, and still kept.
    pub(crate) fn get(&self, id: ClientId, psn: ClientPsn) -> Option<AtomicResult> {
        let first = id.index() * self.per_client;
        let ring = self.cells.get(first..first + self.per_client)?;
        let next = self.next.get(id.index()).copied().map_or(0, usize::from);
        let (newer, older) = ring.split_at_checked(next).unwrap_or((ring, &[]));
        // Of two with the same PSN the newer one: numbers come again.
        let mut newest_first = newer.iter().rev().chain(older.iter().rev()).flatten();
        let cell = newest_first.find(|cell| cell.psn == psn)?;
        let original = cell.original?;
        Some(AtomicResult { psn, opcode: cell.opcode, original })
    }

    /// All results that are kept of a client, oldest first.
    pub(crate) fn known(&self, id: ClientId) -> impl Iterator<Item = AtomicResult> {
        let first = id.index() * self.per_client;
        let ring = self.cells.get(first..first + self.per_client).unwrap_or_default();
        let next = self.next.get(id.index()).copied().map_or(0, usize::from);
        let (newer, older) = ring.split_at_checked(next).unwrap_or((ring, &[]));
        older.iter().chain(newer).flatten().filter_map(|cell| {
            let Cell { psn, opcode, original } = *cell;
            Some(AtomicResult { psn, opcode, original: original? })
        })
    }

    /// Reads a little of where the next one goes.
    #[inline]
    pub(crate) fn touch(&self, id: ClientId) -> u64 {
        let first = id.index() * self.per_client;
        let next = self.next.get(id.index()).copied().map_or(0, usize::from);
        let psn = self.psns.get(first).map_or(0, |psn| psn.to_wire().value());
        u64::from(psn) ^ u64::from(self.cells.get(first + next).is_some_and(Option::is_some))
    }

    /// Keeps the result of an atomic that was not asked for before.
    #[inline]
    pub(crate) fn keep_next(&mut self, id: ClientId, result: AtomicResult) {
        let AtomicResult { psn, opcode, original } = result;
        let first = id.index() * self.per_client;
        let Some(next) = self.next.get_mut(id.index()) else { return };
        let at = usize::from(*next);
        *next = if at + 1 == self.per_client { 0 } else { *next + 1 };
        let places = (self.cells.get_mut(first + at), self.psns.get_mut(first + at));
        if let (Some(cell), Some(place)) = places {
            *cell = Some(Cell { psn, opcode, original: Some(original) });
            *place = psn;
        }
    }

    /// Keeps a result.
    pub(crate) fn keep(&mut self, id: ClientId, result: AtomicResult) {
        let AtomicResult { psn, opcode, original } = result;
        self.put(id, Cell { psn, opcode, original: Some(original) });
    }

    /// The server is asked: what it answers will be the result. `fresh` where it has not been asked
    /// before, and what is kept under this PSN is of an older round.
    pub(crate) fn expect(&mut self, id: ClientId, psn: ClientPsn, opcode: Opcode, fresh: bool) {
        let known = self.ring_mut(id).iter().flatten().any(|cell| cell.psn == psn);
        if fresh || !known {
            self.put(id, Cell { psn, opcode, original: None });
        }
    }

    /// Atomics whose servers were asked and have not answered.
    pub(crate) fn count_awaited(&self, id: ClientId) -> usize {
        let first = id.index() * self.per_client;
        let ring = self.cells.get(first..first + self.per_client).unwrap_or_default();
        ring.iter().flatten().filter(|cell| cell.original.is_none()).count()
    }

    /// Takes the answer of a server that was asked. Whether it was, and is answered first now.
    pub(crate) fn fulfil(&mut self, id: ClientId, psn: ClientPsn, original: u64) -> bool {
        let waiting = |cell: &&mut Cell| cell.psn == psn && cell.original.is_none();
        let cell = self.ring_mut(id).iter_mut().flatten().find(waiting);
        cell.map(|cell| cell.original = Some(original)).is_some()
    }

    /// In place of what has the same PSN, else of the oldest.
    fn put(&mut self, id: ClientId, cell: Cell) {
        let first = id.index() * self.per_client;
        let ring = first..first + self.per_client;
        let (Some(cells), Some(psns), Some(next)) = (
            self.cells.get_mut(ring.clone()),
            self.psns.get_mut(ring),
            self.next.get_mut(id.index()),
        ) else {
            return;
        };
        let known = psns.iter().zip(cells.iter());
        let mut known = known.map(|(psn, kept)| *psn == cell.psn && kept.is_some());
        let at = known.position(|known| known).unwrap_or_else(|| {
            let at = usize::from(*next) % self.per_client;
            *next = ((at + 1) % self.per_client) as u8;
            at
        });
        if let (Some(place), Some(psn)) = (cells.get_mut(at), psns.get_mut(at)) {
            (*place, *psn) = (Some(cell), cell.psn);
        }
    }

    fn ring_mut(&mut self, id: ClientId) -> &mut [Option<Cell>] {
        let first = id.index() * self.per_client;
        self.cells.get_mut(first..first + self.per_client).unwrap_or_default()
    }
}
