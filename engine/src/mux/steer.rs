//! On to the end of a list: requests that aim at a node which is superseded.

use super::turn::{Told, Turn};
use crate::contents::lists::Node;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::journal::Operands;
use crate::mail::{Kind, Request};
use crate::policy::{Access, Fit, Map, Steer};
use crate::wire::{Layout, Opcode, icrc};

/// Bytes of the word that a node begins with.
const WORD: u32 = 8;

/// A compare-and-swap that appends, as its operands say.
struct Append {
    /// Version of the node that it aims at.
    version: u64,
    /// Number and version of the new one.
    number: u64,
    new_version: u64,
}

impl Engine {
    /// Whether requests of that kind are sent on, if they are `mapped`.
    pub(super) fn steers(&self, kind: Kind, mapped: bool) -> bool {
        let translated = self.choices.map != Map::None;
        let kind = match kind {
            Kind::Atomic => self.choices.steer >= Steer::Writes,
            Kind::Read => self.choices.steer == Steer::All,
            Kind::Plain => false,
        };
        kind && translated && mapped
    }

    /// Sends a request on to the end of its key's list, if it aims at a node before that.
    pub(super) fn steer(&mut self, id: ServerQpId, request: &Request, turn: &mut Turn) {
        let (Some(key), Some(domain)) = (request.key, self.memory_at(id)) else { return };
        let append = self.append_of(request);
        if !request.mapped {
            // It may run at any time.
            if append.is_some() {
                self.lists.lose_end(domain, key);
            }
        } else if let Some(append) = append {
            self.steer_append(id, domain, key, request, &append, turn);
        } else if request.kind == Kind::Read && self.steers(Kind::Read, true) {
            self.steer_read(id, domain, key, request, turn);
        }
    }

    /// What a compare-and-swap appends, if it is one that does.
    fn append_of(&self, request: &Request) -> Option<Append> {
        let form = self.policy.profile.list()?;
        if request.origin.opcode != Opcode::CompareSwap {
            return None;
        }
        let Operands { swap_or_add, compare } = request.operands;
        let version = form.as_last(compare)?;
        let number = form.next.get(swap_or_add);
        let appends = number != 0 && form.version.get(swap_or_add) == version;
        let new_version = form.next_version.get(swap_or_add);
        appends.then_some(Append { version, number, new_version })
    }

    fn steer_append(
        &mut self,
        id: ServerQpId,
        domain: DomainId,
        key: u64,
        request: &Request,
        append: &Append,
        turn: &mut Turn,
    ) {
        turn.appends = true;
        let new = self.lists.numbered(domain, append.number).filter(|(_, node)| {
            node.writer == request.client
                && node.version == append.new_version
                && node.key.is_none_or(|of| of == key)
                && !node.is_appended
        });
        turn.node = new.map(|(address, _)| address);
        let Some(list) = self.lists.list_or_new(domain, key, id) else { return };
        let steered = |_: &u64| self.choices.steer != Steer::None;
        let (Some(end), Some(new)) = (list.end.filter(steered), turn.node) else { return };
        let Some((old, last)) = self.superseded(domain, key, turn.start, end) else { return };
        let fits = old.version == append.version && end != new;
        let Some(superseded) = old.next.filter(|_| fits) else { return };
        if !self.may_reach(request, end) {
            return;
        }
        let Some(form) = self.policy.profile.list() else { return };
        let Operands { swap_or_add, compare } = request.operands;
        turn.start = end;
        turn.operands = Operands {
            swap_or_add: form.version.with(swap_or_add, last.version),
            compare: form.last(last.version),
        };
        turn.told = Told::Appended { expected: compare, superseded };
        self.counters.steered_atomics += 1;
    }

    fn steer_read(
        &mut self,
        id: ServerQpId,
        domain: DomainId,
        key: u64,
        request: &Request,
        turn: &mut Turn,
    ) {
        let Some(access) = request.access.filter(|_| request.packets == 1) else { return };
        let end = self.lists.list(domain, key, id).and_then(|list| list.end);
        let Some(end) = end else { return };
        let Some((old, last)) = self.superseded(domain, key, turn.start, end) else { return };
        if access.len < WORD || access.len > old.len || !self.may_reach(request, end) {
            return;
        }
        turn.start = end;
        turn.told = Told::Version(old.version);
        turn.operands.compare = last.version;
        self.counters.steered_reads += 1;
    }

    /// The superseded node at `start` and the one at the end of the same list, if they are that,
    /// and alike.
    fn superseded(
        &mut self,
        domain: DomainId,
        key: u64,
        start: u64,
        end: u64,
    ) -> Option<(Node, Node)> {
        let old = self.lists.sure_node(domain, start)?;
        let last = self.lists.sure_node(domain, end)?;
        let alike = (old.len, old.remote_key) == (last.len, last.remote_key);
        let of_key = old.key == Some(key) && last.key == Some(key);
        let in_list = old.is_appended && last.is_appended;
        (start != end && alike && of_key && in_list && last.next.is_none()).then_some((old, last))
    }

    /// Whether a request may go to another address, on its client's own queue pair as well.
    fn may_reach(&self, request: &Request, start: u64) -> bool {
        request.access.is_some_and(|access| {
            let access = Access { start, ..access };
            let fit =
                self.directory.fit(request.client, request.server_qp, &access, request.packets);
            fit == Fit::Certain
        })
    }

    /// A node was appended: it is the end now.
    pub(super) fn on_appended(&mut self, id: ServerQpId, domain: DomainId, key: u64, turn: &Turn) {
        let Some(form) = self.policy.profile.list() else { return };
        let swap = turn.operands.swap_or_add;
        let number = form.next.get(swap);
        let before = self.lists.list(domain, key, id).and_then(|list| list.end_number);
        if let Some(&mut node) = self.lists.node(domain, turn.start) {
            self.lists.take_given_grid(domain, &node);
            // Nobody knows so of nodes without a key in them.
            if let Some(before) = before.filter(|_| node.key == Some(key)) {
                self.lists.learn_grid(domain, &node, turn.start, before);
            }
        }
        if let Some(node) = self.lists.node(domain, turn.start) {
            (node.is_appended, node.next, node.key) = (true, Some(swap), Some(key));
        }
        let before = self.lists.node(domain, turn.start).copied().and_then(|node| {
            let number = self.lists.number_of(domain, turn.start, &node)?;
            Some(form.pointer(number, node.version))
        });
        let mut superseded = false;
        if let Some(new) = turn.node.and_then(|address| self.lists.node(domain, address)) {
            (new.is_appended, new.key, new.before) = (true, Some(key), before);
            superseded = new.next.is_some();
        }
        if let Some(address) = turn.node {
            self.note_address(id.owner(), address, key);
        }
        // A WRITE behind it may have appended to it already, in the place of an atomic.
        if let Some(list) = self.lists.list(domain, key, id).filter(|_| !superseded) {
            (list.end, list.end_number) = (turn.node, Some(number));
        }
    }

    /// Puts the slots that versions were really appended to into a report of superseded ones.
    pub(super) fn mend_report(
        &mut self,
        server: ServerQpId,
        frame: &mut Frame<'_>,
        layout: &Layout,
    ) {
        let report = self.policy.profile.list().and_then(|form| Some((form, form.report?)));
        let Some((form, report)) = report.filter(|(_, report)| {
            layout.opcode == Opcode::SendOnly && layout.payload_len == report.payload_len
        }) else {
            return;
        };
        let order = self.directory.byte_order(server);
        let mut mended = 0;
        for entry in 0..report.entries {
            let at = usize::from(layout.payload)
                + usize::from(report.first)
                + usize::from(entry) * usize::from(report.entry_len);
            let (old, new) = (at + usize::from(report.old), at + usize::from(report.new));
            let Some(pointer) = frame.bytes().get(new..new + 8) else { return };
            let pointer = order.number(pointer);
            let (number, version) = (form.next.get(pointer), form.version.get(pointer));
            let Some(before) = self.lists.before(number, version).filter(|_| number != 0) else {
                continue;
            };
            let Some(named) = frame.bytes_mut().get_mut(old..old + 8) else { return };
            if order.number(named) != before {
                named.copy_from_slice(&order.bytes(before));
                mended += 1;
            }
        }
        if mended > 0 {
            // What it came with was verified.
            icrc::store(frame.bytes_mut(), layout);
            self.counters.reports_mended += mended;
        }
    }

    /// A client's WRITE was accepted: it may fill a slot, overwrite one, or point to one.
    pub(crate) fn note_written(
        &mut self,
        id: ClientId,
        key: Option<u64>,
        access: &Access,
        frame: &Frame<'_>,
        layout: &Layout,
    ) {
        if !self.lists.has_room() {
            return;
        }
        let server_qp = id.own_server_qp();
        let (Some(domain), Some(form)) = (self.memory_at(server_qp), self.policy.profile.list())
        else {
            return;
        };
        let word = layout.payload(frame.bytes()).get(..8);
        let word = word.map(|word| self.directory.byte_order(server_qp).number(word));
        let one_packet = layout.opcode == Opcode::WriteOnly;
        let number = word.map(|word| form.next.get(word));
        let fills = one_packet && self.policy.profile.is_slot(access.len);
        let version = word.filter(|_| fills).and_then(|word| form.as_last(word));
        if let Some(number) = number.filter(|_| one_packet && access.len == WORD)
            && let Some((_, Node { key: Some(key), .. })) = self.lists.numbered(domain, number)
        {
            // What READs follow to a record.
            self.note_address(id, access.start, key);
        }
        let Some(version) = version else {
            return self.lists.on_other_write(domain, access.start, access.len);
        };
        let node = Node {
            len: access.len,
            remote_key: access.remote_key,
            version,
            writer: id,
            serial: 0,
            key,
            is_appended: false,
            before: None,
            next: None,
        };
        self.lists.on_slot_written(domain, access.start, node);
    }
}
