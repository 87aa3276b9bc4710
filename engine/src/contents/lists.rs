//! How a store links the versions of its records, as far as requests and answers have shown it.
//!
//! A node is a slot that a WRITE has filled. A compare-and-swap that succeeds appends one to the
//! list of its key; then the old end is superseded, and the new node is the end. Only what a server
//! has said, or what cannot end otherwise, is taken for an end: so a request that is sent on to the
//! end never reaches a version that nobody has appended.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::policy::{Cache, Put, SlotGrid};
use crate::wire::ServerPsn;

/// Slot lengths, domains and memory keys of which it is known where the numbers of slots are.
const GRIDS_MAX: usize = 32;
/// Appended slots that have to agree on where number 0 is.
const SAMPLES_NEEDED: u32 = 3;
/// Slots that a client has filled last, which stay until they are appended: as many as a thread of
/// Clover has operations at a time (clover source: coroutines).
const FRESH_MAX: u16 = 5;

/// One version of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    pub(crate) len: u32,
    pub(crate) remote_key: u32,
    pub(crate) version: u64,
    pub(crate) writer: ClientId,
    /// Slots that its writer had filled before, modulo 2^16. Set by [`Lists::on_slot_written`].
    pub(crate) serial: u16,
    /// Whose list it is for, as far as that is known.
    pub(crate) key: Option<u64>,
    /// It is in that list.
    pub(crate) is_appended: bool,
    /// Pointer to the node that it was appended to, if that is known.
    pub(crate) before: Option<u64>,
    /// What its word holds since it was superseded; `None` if it is not known to be.
    pub(crate) next: Option<u64>,
}

/// What is known of a key's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct List {
    /// Address of its end, if that is known, and the number of its slot.
    pub(crate) end: Option<u64>,
    pub(crate) end_number: Option<u64>,
    /// The newest atomic on its way that may append to it, and of which it is not known yet whether
    /// it does. Where nothing is steered, there may be others before it.
    pub(crate) asked: Option<ServerPsn>,
    server_qp: ServerQpId,
    epoch: u32,
}

impl List {
    /// Its end is not known any more.
    pub(crate) fn lose_end(&mut self) {
        (self.end, self.end_number) = (None, None);
    }
}

/// Slots of one length are numbered by their addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Grid {
    domain: DomainId,
    len: u32,
    remote_key: u32,
    /// Address of number 0, modulo 2^64.
    base: u64,
    /// Appended slots that agreed, one after the other.
    samples: u32,
}

impl Grid {
    fn address(&self, number: u64) -> u64 {
        self.base.wrapping_add(number.wrapping_mul(u64::from(self.len)))
    }

    fn is_sure(&self) -> bool {
        self.samples >= SAMPLES_NEEDED
    }

    fn has(&self, address: u64) -> bool {
        address.wrapping_sub(self.base).is_multiple_of(u64::from(self.len.max(1)))
    }
}

/// A bounded number of lists and nodes.
pub(crate) struct Lists {
    lists: Cache<List>,
    nodes: Cache<Node>,
    /// Slots that each client has filled, modulo 2^16.
    filled: Box<[u16]>,
    grids: Vec<Grid>,
    /// What the profile says of grids, for every domain and memory key.
    given: Vec<SlotGrid>,
    /// Raised when it is not known any more what a server queue pair has done.
    epochs: Box<[u32]>,
}

impl Lists {
    /// Room for the lists of `lists_max` keys and for `nodes_max` nodes; none for 0.
    pub(crate) fn new(
        lists_max: u32,
        nodes_max: u32,
        connections: usize,
        given: &[SlotGrid],
    ) -> Lists {
        let connections = if lists_max == 0 { 0 } else { connections };
        Lists {
            lists: Cache::new(lists_max),
            nodes: Cache::new(if lists_max == 0 { 0 } else { nodes_max }),
            filled: vec![0; connections].into(),
            grids: Vec::with_capacity(GRIDS_MAX),
            given: given.to_vec(),
            epochs: vec![0; connections].into(),
        }
    }

    /// Whether there is room for any node.
    pub(crate) fn has_room(&self) -> bool {
        self.nodes.has_room()
    }

    fn epoch(&self, id: ServerQpId) -> u32 {
        self.epochs.get(id.index()).copied().unwrap_or(0)
    }

    /// It is not known any more what ran on a server queue pair.
    pub(crate) fn forget(&mut self, id: ServerQpId) {
        if let Some(epoch) = self.epochs.get_mut(id.index()) {
            *epoch = epoch.wrapping_add(1);
        }
    }

    /// The list of a key whose requests run on this server queue pair.
    pub(crate) fn list(&mut self, domain: DomainId, key: u64, id: ServerQpId) -> Option<&mut List> {
        let blank = self.blank(id);
        let list = self.lists.get_mut(domain, key)?;
        if (list.server_qp, list.epoch) != (blank.server_qp, blank.epoch) {
            *list = blank;
        }
        Some(list)
    }

    /// Whether it is not known yet how the list of a key goes on.
    pub(crate) fn is_busy(&self, domain: DomainId, key: u64, id: ServerQpId) -> bool {
        self.lists.peek(domain, key).is_some_and(|list| {
            list.asked.is_some() && (list.server_qp, list.epoch) == (id, self.epoch(id))
        })
    }

    /// The end of a key's list is not known any more, wherever its requests run.
    pub(crate) fn lose_end(&mut self, domain: DomainId, key: u64) {
        if let Some(list) = self.lists.get_mut(domain, key) {
            list.lose_end();
        }
    }

    /// The same; it is remembered from now on if there is room.
    pub(crate) fn list_or_new(
        &mut self,
        domain: DomainId,
        key: u64,
        id: ServerQpId,
    ) -> Option<&mut List> {
        if self.list(domain, key, id).is_none() {
            let blank = self.blank(id);
            self.lists.insert(domain, key, blank, |list| list.asked.is_none());
        }
        self.list(domain, key, id)
    }

    fn blank(&self, server_qp: ServerQpId) -> List {
        let epoch = self.epoch(server_qp);
        List { end: None, end_number: None, asked: None, server_qp, epoch }
    }

    /// A client fills a slot: what was there is gone.
    ///
    /// What it has filled last is forgotten after all else. It is about to append that, however
    /// long the request waits, and nobody else can make it known again: an append of a node that
    /// is not known is not sent on, so it fails in every list that grows meanwhile, and each time
    /// the end of the list has to be found anew, by all.
    pub(crate) fn on_slot_written(&mut self, domain: DomainId, address: u64, node: Node) {
        self.on_other_write(domain, address, node.len);
        let mut serial = 0;
        if let Some(filled) = self.filled.get_mut(node.writer.index()) {
            (serial, *filled) = (*filled, filled.wrapping_add(1));
        }
        let node = Node { serial, ..node };
        let filled = &self.filled;
        let may_go = |other: &Node| {
            let filled = filled.get(other.writer.index()).copied().unwrap_or(0);
            other.is_appended || filled.wrapping_sub(other.serial) > FRESH_MAX
        };
        if self.nodes.insert(domain, address, node, may_go) == Put::Nowhere {
            self.nodes.insert(domain, address, node, |_| true);
        }
    }

    /// Something is written to a range: nodes that it touches are none any more.
    pub(crate) fn on_other_write(&mut self, domain: DomainId, start: u64, len: u32) {
        self.nodes.remove(domain, start);
        let bytes = u64::from(len);
        for grid in self.grids.iter().filter(|grid| grid.domain == domain && grid.is_sure()) {
            let slot = u64::from(grid.len.max(1));
            let before = start.wrapping_sub(grid.base) % slot;
            let first = start.wrapping_sub(before);
            // A longer write is no slot's; whoever reads a node that it has overwritten is told by
            // the node's word.
            let touched = (before + bytes).div_ceil(slot).min(64);
            for i in 0..touched {
                self.nodes.remove(domain, first.wrapping_add(i * slot));
            }
        }
    }

    /// What is known of the node at an address.
    pub(crate) fn node(&mut self, domain: DomainId, address: u64) -> Option<&mut Node> {
        self.nodes.get_mut(domain, address)
    }

    /// The same, if its address is one that slots have: only of such a node it is known that
    /// nothing else was written there since.
    pub(crate) fn sure_node(&mut self, domain: DomainId, address: u64) -> Option<Node> {
        let node = *self.nodes.get_mut(domain, address)?;
        self.grid(domain, node.len, node.remote_key)
            .filter(|grid| grid.is_sure() && grid.has(address))
            .map(|_| node)
    }

    /// Whether a failed append at an address says nothing about the end of the list: it was not
    /// aimed at it, and what it was aimed at is forgotten. READs of that are not sent on either, so
    /// its client walks on, to a node that is known.
    pub(crate) fn is_unrelated(&mut self, domain: DomainId, start: u64, end: Option<u64>) -> bool {
        let known = end.is_some_and(|end| self.sure_node(domain, end).is_some());
        known && end != Some(start) && self.node(domain, start).is_none()
    }

    /// The node with a slot's number, and its address.
    pub(crate) fn numbered(&mut self, domain: DomainId, number: u64) -> Option<(u64, Node)> {
        for i in 0..self.grids.len() {
            let grid = self.grids.get(i).filter(|g| g.domain == domain && g.is_sure());
            let Some(&grid) = grid else { continue };
            let address = grid.address(number);
            if let Some(node) = self.nodes.get_mut(domain, address)
                && (node.len, node.remote_key) == (grid.len, grid.remote_key)
            {
                return Some((address, *node));
            }
        }
        None
    }

    /// The number of a slot.
    pub(crate) fn number_of(&self, domain: DomainId, address: u64, node: &Node) -> Option<u64> {
        let grid = self.grid(domain, node.len, node.remote_key)?;
        let sure = grid.is_sure() && grid.has(address);
        sure.then(|| address.wrapping_sub(grid.base) / u64::from(grid.len.max(1)))
    }

    /// What the node of this number and version, of whatever server, was appended to.
    pub(crate) fn before(&self, number: u64, version: u64) -> Option<u64> {
        self.grids.iter().filter(|grid| grid.is_sure()).find_map(|grid| {
            let node = self.nodes.peek(grid.domain, grid.address(number))?;
            let fits =
                (node.len, node.remote_key, node.version) == (grid.len, grid.remote_key, version);
            node.before.filter(|_| fits)
        })
    }

    fn grid(&self, domain: DomainId, len: u32, remote_key: u32) -> Option<&Grid> {
        let wanted = (domain, len, remote_key);
        self.grids.iter().find(|g| (g.domain, g.len, g.remote_key) == wanted)
    }

    /// A slot's number and its address were seen together: the end of a list, whose number the
    /// one before it had named, was the next that something was appended to.
    pub(crate) fn learn_grid(&mut self, domain: DomainId, node: &Node, address: u64, number: u64) {
        let Node { len, remote_key, .. } = *node;
        let base = address.wrapping_sub(number.wrapping_mul(u64::from(len)));
        let wanted = (domain, len, remote_key);
        let known = |g: &&mut Grid| (g.domain, g.len, g.remote_key) == wanted;
        let full = self.grids.len() == self.grids.capacity();
        match self.grids.iter_mut().find(known) {
            Some(grid) if grid.is_sure() => {}
            Some(grid) if grid.base == base => grid.samples += 1,
            Some(grid) => (grid.base, grid.samples) = (base, 1),
            None if full => {}
            None => self.grids.push(Grid { domain, len, remote_key, base, samples: 1 }),
        }
    }

    /// What the profile says of the slots that such a node is among holds for them.
    pub(crate) fn take_given_grid(&mut self, domain: DomainId, node: &Node) {
        let Node { len, remote_key, .. } = *node;
        let Some(given) = self.given.iter().find(|given| given.len == len) else { return };
        let base = given.address.wrapping_sub(given.number.wrapping_mul(u64::from(len)));
        let full = self.grids.len() == self.grids.capacity();
        if self.grid(domain, len, remote_key).is_none() && !full {
            let samples = SAMPLES_NEEDED;
            self.grids.push(Grid { domain, len, remote_key, base, samples });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: DomainId = DomainId(0);

    fn lists() -> Lists {
        Lists::new(64, 64, 4, &[])
    }

    fn node(version: u64) -> Node {
        Node {
            len: 128,
            remote_key: 7,
            version,
            writer: ClientId(0),
            serial: 0,
            key: Some(1),
            is_appended: false,
            before: None,
            next: None,
        }
    }

    fn with_grid() -> Lists {
        let mut lists = lists();
        for number in [5, 9, 3] {
            lists.learn_grid(DOMAIN, &node(1), 0x1_0000 + 128 * number, number);
        }
        lists
    }

    #[test]
    fn slots_are_found_by_number_once_enough_have_agreed() {
        let mut lists = lists();
        lists.on_slot_written(DOMAIN, 0x1_0000, node(1));
        for (number, sure) in [(1, false), (2, false), (4, true)] {
            lists.learn_grid(DOMAIN, &node(1), 0x1_0000 + 128 * number, number);
            assert_eq!(lists.numbered(DOMAIN, 0).is_some(), sure, "after {number}");
            assert_eq!(lists.sure_node(DOMAIN, 0x1_0000).is_some(), sure);
        }
        // Somebody appended past the engine: that changes nothing any more.
        lists.learn_grid(DOMAIN, &node(1), 0x1_0000, 77);
        assert!(lists.numbered(DOMAIN, 0).is_some());
    }

    #[test]
    fn slots_that_contradict_each_other_are_no_grid() {
        let mut lists = lists();
        lists.on_slot_written(DOMAIN, 0x1_0000, node(1));
        for number in [1, 2, 1, 2, 1, 2] {
            lists.learn_grid(DOMAIN, &node(1), 0x1_0000, number);
        }
        assert_eq!(lists.sure_node(DOMAIN, 0x1_0000), None);
    }

    #[test]
    fn what_is_written_over_a_node_ends_it() {
        for (start, len, ends) in
            [(0x1_0000, 8, true), (0x1_007f, 1, true), (0xffff, 1, false), (0x1_0080, 64, false)]
        {
            let mut lists = with_grid();
            lists.on_slot_written(DOMAIN, 0x1_0000, node(1));
            lists.on_other_write(DOMAIN, start, len);
            assert_eq!(lists.node(DOMAIN, 0x1_0000).is_none(), ends, "{start:#x}, {len}");
        }
    }

    #[test]
    fn what_a_client_has_filled_last_stays_until_it_is_appended() {
        let mut lists = Lists::new(4, 4, 4, &[]);
        let fill = |lists: &mut Lists, address, writer, is_appended| {
            let node = Node { writer: ClientId(writer), ..node(1) };
            lists.on_slot_written(DOMAIN, address, node);
            lists.node(DOMAIN, address).unwrap().is_appended = is_appended;
        };
        fill(&mut lists, 0x1000, 0, false);
        for address in (0x2000..0x4000).step_by(128) {
            fill(&mut lists, address, 1, true);
            assert!(lists.nodes.peek(DOMAIN, 0x1000).is_some(), "at {address:#x}");
        }
        // What its client has given up goes like all else.
        for address in (0x4000..).step_by(128).take(usize::from(FRESH_MAX)) {
            fill(&mut lists, address, 0, true);
        }
        assert!(lists.nodes.peek(DOMAIN, 0x1000).is_none());
        // Where there is no room for so many, what was used longest ago goes.
        for (address, writer) in [(0x5000, 0), (0x5080, 1), (0x5100, 2), (0x5180, 3), (0x5200, 3)] {
            fill(&mut lists, address, writer, false);
            assert!(lists.nodes.peek(DOMAIN, address).is_some());
        }
        assert!(lists.nodes.peek(DOMAIN, 0x5000).is_none());
    }

    #[test]
    fn a_failed_append_to_what_is_forgotten_says_nothing_about_the_end() {
        let mut lists = with_grid();
        let [known, end, forgotten] = [0x1_0000, 0x1_0080, 0x1_0100];
        lists.on_slot_written(DOMAIN, known, node(1));
        assert!(!lists.is_unrelated(DOMAIN, forgotten, Some(end)), "nor is the end known");
        lists.on_slot_written(DOMAIN, end, node(1));
        assert!(lists.is_unrelated(DOMAIN, forgotten, Some(end)));
        assert!(!lists.is_unrelated(DOMAIN, forgotten, None));
        assert!(!lists.is_unrelated(DOMAIN, end, Some(end)), "it was aimed there");
        assert!(!lists.is_unrelated(DOMAIN, known, Some(end)), "READs of it go to the end");
    }

    #[test]
    fn a_list_is_forgotten_with_its_server_queue_pair() {
        let mut lists = lists();
        let id = ServerQpId(1);
        lists.list_or_new(DOMAIN, 1, id).unwrap().end = Some(0x1_0000);
        assert_eq!(lists.list(DOMAIN, 1, id).unwrap().end, Some(0x1_0000));
        lists.forget(id);
        assert_eq!(lists.list(DOMAIN, 1, id).unwrap().end, None);
        lists.list(DOMAIN, 1, id).unwrap().end = Some(0x1_0000);
        assert_eq!(lists.list(DOMAIN, 1, ServerQpId(2)).unwrap().end, None);
    }
}
