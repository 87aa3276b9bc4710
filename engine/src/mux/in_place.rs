//! Steering in place: frames pass untranslated, and of some the address is changed.
//!
//! A store that appends versions to lists (see [`crate::policy::ListForm`]) has clients whose idea
//! of a list's tail is out of date. Their compare-and-swap fails, and they look for the tail. Here
//! it is sent to the tail that the last append made instead, and with `steer all` so is a READ of
//! a superseded version. Nothing of a frame changes but its virtual address and its ICRC (and a
//! UDP checksum, where there is one, becomes none). Each list's tail is known only from what
//! passed:
//!
//! - A WRITE of a slot whose first word names no successor makes a new version. It may be appended
//!   by a compare-and-swap on the same queue pair. If several may, the number in the swap value
//!   says which: slots of one length are numbered in the order of their addresses, and where the
//!   numbers begin is learnt from appends that leave no choice.
//! - The first append to a list passes as it is. Then its tail is what it appended.
//! - An append aimed elsewhere goes to the tail. Then the tail is what it appended.
//!
//! It is left as it is, and the tail stays, if it cannot be told what it appends, if that has been
//! appended before (a client that tries again knows better), or if the tail has another entry
//! version or memory key: the compare value must fit the new target. A repeated request goes where
//! the first one went. A frame with a wrong ICRC passes and is not believed.
//!
//! # How this loses an update
//!
//! The tail moves when an append *passes*; whether and when it then executes is not known here, and
//! queue pairs do not wait for each other. Let T be a list's tail.
//!
//! 1. X's append of A to T passes; the tail is A. Y's append of B, aimed at T, is steered to A.
//!    Y's executes first (X's is on its way on another queue pair, or was lost): A names B, Y is
//!    told of success, and until X's executes nobody who follows the list finds B.
//! 2. X's append then fails: the word of T is no longer what X expects, because T never was the
//!    tail (it was the first append seen here, aimed at a version that had been superseded before)
//!    or because somebody appended to T in another way (around this box, or left unsteered as
//!    above). Now A, with B behind it, hangs from nothing, and all later appends go behind B. X
//!    tries again: its append is left as it is and, at the true tail, links A and all that hangs
//!    from it. Until then Y's update, and those of all who came later, are lost; if X ends first,
//!    or is refused, they are lost for good, and were told as done.
//!    X may also be led to B, by what B's client has told others of it. Then A is linked behind B,
//!    which is behind A: a ring, in which whoever follows the list goes round for ever.
//! 3. With `steer all`, a READ may see a version before it is appended, or one of case 2 that never
//!    is; and if clients append before their WRITE is answered, one that is not written yet. A tail
//!    that others have appended to unseen leads on to later versions; a READ of one of these is
//!    sent back to it, and its client may go round for ever.
//!
//! Clients are trusted: who appends what a server then refuses to have written directs others'
//! compare-and-swaps to an address that is refused, too. All of this is the price of not knowing
//! what executed. Steering on translated connections pays in another way: all of a key is on one
//! queue pair (see [`crate::policy::Policy`]).

use super::in_place_tables::{Numbering, QueuePair, Servers, Slot, Tail};
use crate::config::Config;
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::DomainId;
use crate::out::{Action, Out};
use crate::policy::{AtomicKey, Cache, KeyOf, ListForm, Policy, Profile, Put, Steer};
use crate::wire::{
    AtomicEthRepr, Classified, Layout, Opcode, PatchTables, Reth, RethRepr, Udp, classify, icrc,
};

/// Memory keys and lengths of slots whose numbering is remembered.
const NUMBERINGS_MAX: u32 = 256;

/// Longest headers up to the virtual address: IPv6, UDP, BTH, and 8 bytes.
const HEADERS_MAX: usize = 40 + 8 + 12 + 8;

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It passes.
    Pass,
    /// It passes, although it is an append aimed elsewhere than at the presumed tail.
    Left,
    /// An atomic that goes to this address.
    Atomic(u64),
    /// A READ that goes to this address.
    Read(u64),
}

/// What is known of lists, and of the queue pairs that append to them.
pub(crate) struct InPlace {
    form: ListForm,
    /// READs are steered as well.
    reads: bool,
    /// Bytes that fit one packet on any queue pair, as configured.
    path_mtu: u32,
    servers: Servers,
    queue_pairs: Cache<QueuePair>,
    slots: Cache<Slot>,
    lists: Cache<Option<Tail>>,
    numberings: Cache<Numbering>,
}

/// An append: what a compare-and-swap says.
struct Append {
    /// Where it is aimed at, and with which memory key.
    atomic: AtomicEthRepr,
    /// Entry version that the word there is to have.
    version: u64,
    /// Number and version of what is appended.
    number: u64,
    next_version: u64,
}

impl Append {
    /// `None` if it is another compare-and-swap.
    fn of(form: &ListForm, atomic: AtomicEthRepr) -> Option<Append> {
        let version = form.as_last(atomic.compare)?;
        let (word, next, next_version) = (atomic.swap_or_add, form.next, form.next_version);
        let (number, appended) = (next.get(word), next_version.get(word));
        let meant = next_version.with(next.with(form.last(version), number), appended);
        (word == meant && number != 0).then_some(Append {
            atomic,
            version,
            number,
            next_version: appended,
        })
    }

    fn target(&self) -> u64 {
        self.atomic.virtual_address
    }
}

impl InPlace {
    /// The tables of a policy that steers in place, if it does.
    pub(crate) fn new(config: &Config, policy: &Policy) -> Option<InPlace> {
        let form = policy.profile.list().filter(|_| policy.in_place)?.clone();
        Some(InPlace {
            form,
            reads: policy.steer == Steer::All,
            path_mtu: config.path_mtu.unwrap_or(0).into(),
            servers: Servers::new(config.domains_max),
            queue_pairs: Cache::new(config.connections_max),
            slots: Cache::new(config.nodes_max),
            lists: Cache::new(config.lists_max),
            numberings: Cache::new(NUMBERINGS_MAX),
        })
    }

    fn on_request(&mut self, profile: &Profile, frame: &[u8], layout: &Layout) -> Verdict {
        match layout.opcode {
            Opcode::WriteOnly | Opcode::WriteFirst => {
                self.on_write(profile, frame, layout);
                Some(Verdict::Pass)
            }
            Opcode::CompareSwap => self.on_compare_swap(profile, frame, layout),
            Opcode::ReadRequest if self.reads => self.on_read(profile, frame, layout),
            _ => None,
        }
        .unwrap_or(Verdict::Pass)
    }

    /// Whose request it is, and whether it comes for the first time. `None` if there is no room to
    /// know its server.
    fn arrive(&mut self, layout: &Layout) -> Option<(DomainId, bool)> {
        let domain = self.servers.domain(layout.destination)?;
        if let Some(qp) = self.queue_pairs.get_mut(domain, layout.dest_qp.value().into()) {
            return Some((domain, qp.is_new(layout.psn)));
        }
        let qp = QueuePair::new(layout.psn);
        let put = self.queue_pairs.insert(domain, layout.dest_qp.value().into(), qp, |_| true);
        (put != Put::Nowhere).then_some((domain, true))
    }

    fn queue_pair(&mut self, domain: DomainId, layout: &Layout) -> Option<&mut QueuePair> {
        self.queue_pairs.get_mut(domain, layout.dest_qp.value().into())
    }

    /// A WRITE of a slot, perhaps; `None` as soon as it is clear that it is none, or no news.
    fn on_write(&mut self, profile: &Profile, frame: &[u8], layout: &Layout) -> Option<()> {
        let RethRepr { virtual_address: address, remote_key: rkey, dma_length: len } =
            layout.reth(frame)?;
        if !profile.is_slot(len) || !address.is_multiple_of(8) || !icrc::verify(frame, layout) {
            return None;
        }
        let (domain, true) = self.arrive(layout)? else { return None };
        let payload = layout.payload(frame);
        let word = u64::from_le_bytes(*payload.first_chunk()?);
        let version = self.form.as_last(word);
        self.forget(domain, address, version);
        let list = match profile.key_of(
            layout.opcode,
            layout.payload(frame),
            Some((address, len)),
            None,
        ) {
            // There a list is named by an address, and no key may be taken for one.
            KeyOf::Known(key) if profile.compare_swap() != AtomicKey::OfAddress => Some(key),
            _ => None,
        };
        let slot = Slot { list, version: version?, len, rkey, linked: false };
        self.slots.insert(domain, address, slot, |_| true);
        let qp = self.queue_pair(domain, layout)?;
        qp.payload_max = qp.payload_max.max(payload.len() as u32);
        qp.add_pending(address);
        Some(())
    }

    /// A slot is written anew, as a version without successor or (`None`) as something else. Slots
    /// are used again with another entry version when nobody looks for them any more.
    fn forget(&mut self, domain: DomainId, address: u64, version: Option<u64>) {
        let Some(slot) = self.slots.get_mut(domain, address) else { return };
        let old = *slot;
        *slot = Slot { list: None, linked: true, ..old };
        let Some(list) = old.list else { return };
        let recycled = version.is_some_and(|version| version != old.version);
        if let Some(tail) = self.lists.get_mut(domain, list)
            && (tail.is_some_and(|tail| tail.address == address) || old.linked && !recycled)
        {
            *tail = None;
        }
    }

    fn on_compare_swap(
        &mut self,
        profile: &Profile,
        frame: &[u8],
        layout: &Layout,
    ) -> Option<Verdict> {
        let append = Append::of(&self.form, layout.atomic_eth(frame)?)?;
        let target = append.target();
        if !icrc::verify(frame, layout) {
            return None;
        }
        let (domain, new) = self.arrive(layout)?;
        if !new {
            let went_to = self.queue_pair(domain, layout)?.went_to(layout.psn, target);
            return went_to.map(Verdict::Atomic);
        }
        let there = self.slots.get_mut(domain, target).and_then(|slot| slot.list);
        let list =
            match profile.key_of(layout.opcode, layout.payload(frame), Some((target, 8)), None) {
                KeyOf::Known(key) => Some(key),
                KeyOf::OfAddress { named, .. } => there.or(named.then_some(target)),
                KeyOf::Unknown => None,
                KeyOf::Keyless => return None,
            };
        let appended = self.find_appended(domain, layout, &append, list);
        let list = list.or(appended.and_then(|tail| tail.slot.list))?;
        self.note_target(domain, list, &append);
        self.append(domain, layout, list, &append, appended)
    }

    /// An append to a list, perhaps of something that cannot be told.
    fn append(
        &mut self,
        domain: DomainId,
        layout: &Layout,
        list: u64,
        append: &Append,
        appended: Option<Tail>,
    ) -> Option<Verdict> {
        let tail = self.lists.get_mut(domain, list).copied().flatten();
        // A slot that is written again, after it was forgotten, is nobody's tail.
        let tail = tail.filter(|tail| appended.is_none_or(|new| new.address != tail.address));
        let elsewhere = tail.filter(|tail| tail.address != append.target());
        let fits = |tail: &Tail| {
            tail.slot.version == append.version && tail.slot.rkey == append.atomic.remote_key
        };
        let Some(appended) = appended else {
            if tail.is_some() && elsewhere.is_none() {
                self.lists.insert(domain, list, None, |_| true);
            }
            return elsewhere.map(|_| Verdict::Left);
        };
        if elsewhere.is_some_and(|tail| !fits(&tail)) {
            return Some(Verdict::Left);
        }
        let slot = Slot { list: Some(list), linked: true, ..appended.slot };
        let new = Tail { slot, ..appended };
        self.slots.insert(domain, new.address, slot, |_| true);
        self.lists.insert(domain, list, Some(new), |_| true);
        let qp = self.queue_pair(domain, layout)?;
        qp.remove_pending(new.address);
        let to = elsewhere?.address;
        qp.add_steered(layout.psn, append.target(), to);
        Some(Verdict::Atomic(to))
    }

    /// What something is to be appended to belongs to the list: its client says so.
    fn note_target(&mut self, domain: DomainId, list: u64, append: &Append) {
        if let Some(slot) = self.slots.get_mut(domain, append.target()) {
            slot.list = slot.list.or(Some(list));
            slot.linked = true;
            return;
        }
        let rkey = append.atomic.remote_key;
        let slot = Slot { list: Some(list), version: append.version, len: 0, rkey, linked: true };
        self.slots.insert(domain, append.target(), slot, |_| true);
    }

    /// The slot that is appended. `None` if none of those written on this queue pair can be, or
    /// more than one.
    fn find_appended(
        &mut self,
        domain: DomainId,
        layout: &Layout,
        append: &Append,
        list: Option<u64>,
    ) -> Option<Tail> {
        let (mut possible, mut numbered) = (Only::default(), Only::default());
        let qp = *self.queue_pair(domain, layout)?;
        for address in qp.pending() {
            let Some(slot) = self.slots.get_mut(domain, address).copied() else { continue };
            let other_list = slot.list.is_some_and(|own| list.is_some_and(|list| list != own));
            if slot.linked
                || other_list
                || slot.version != append.next_version
                || slot.rkey != append.atomic.remote_key
                || address == append.target()
            {
                continue;
            }
            let tail = Tail { address, slot };
            possible.add(tail);
            if self.number_says(domain, append, slot.len) == Some(address) {
                numbered.add(tail);
            }
        }
        let found = numbered.0.or(possible.0).and_then(|only| only)?;
        // A client that tries again appends what is no longer pending, and something else may be.
        if numbered.0.is_none() && self.is_another(domain, append) {
            return None;
        }
        self.learn_numbering(domain, append, &found).then_some(found)
    }

    /// Where the appended slot is, if it has this length and numbers begin where they seem to.
    fn number_says(&mut self, domain: DomainId, append: &Append, len: u32) -> Option<u64> {
        let key = numbering_of(append.atomic.remote_key, len);
        let known = self.numberings.get_mut(domain, key)?;
        Some(known.address_of(append.number, len))
    }

    /// Whether the number names a slot that is known.
    fn is_another(&mut self, domain: DomainId, append: &Append) -> bool {
        let rkey = append.atomic.remote_key;
        self.form.slot_lens.iter().any(|len| {
            let numbering = self.numberings.get_mut(domain, numbering_of(rkey, *len));
            let Some(address) = numbering.map(|n| n.address_of(append.number, *len)) else {
                return false;
            };
            let slot = self.slots.get_mut(domain, address);
            slot.is_some_and(|slot| slot.len == *len && slot.rkey == rkey)
        })
    }

    /// Learns where numbers begin from an append that leaves no choice. `false` if it contradicts
    /// what was shown before.
    fn learn_numbering(&mut self, domain: DomainId, append: &Append, found: &Tail) -> bool {
        let shown = Numbering::shown_by(append.number, found.address, found.slot.len);
        let key = numbering_of(found.slot.rkey, found.slot.len);
        if let Some(known) = self.numberings.get_mut(domain, key) {
            return known.agrees_with(shown);
        }
        self.numberings.insert(domain, key, shown, |_| true);
        true
    }

    /// A READ of one packet that reads a whole superseded slot goes to one of the same length. Of a
    /// longer one the rest may be asked for by itself, and would be another version's.
    fn on_read(&mut self, profile: &Profile, frame: &[u8], layout: &Layout) -> Option<Verdict> {
        let RethRepr { virtual_address: address, remote_key: rkey, dma_length: len } =
            layout.reth(frame)?;
        if !profile.is_slot(len) || !icrc::verify(frame, layout) {
            return None;
        }
        let (domain, new) = self.arrive(layout)?;
        if !new {
            // A responder repeats a READ from its record only, and that is of the first one.
            let went_to = self.queue_pair(domain, layout)?.went_to(layout.psn, address);
            return went_to.map(Verdict::Read);
        }
        if len > self.queue_pair(domain, layout)?.payload_max.max(self.path_mtu) {
            return None;
        }
        let slot = *self.slots.get_mut(domain, address)?;
        let tail = (*self.lists.get_mut(domain, slot.list.filter(|_| slot.linked)?)?)?;
        let fits = |slot: &Slot| slot.len == len && slot.rkey == rkey;
        let same = tail.slot.version == slot.version && fits(&slot) && fits(&tail.slot);
        if !same || tail.address == address {
            return None;
        }
        self.queue_pair(domain, layout)?.add_steered(layout.psn, address, tail.address);
        Some(Verdict::Read(tail.address))
    }
}

/// The only one of several, once there was one: `None` if there were more.
#[derive(Default)]
struct Only(Option<Option<Tail>>);

impl Only {
    fn add(&mut self, tail: Tail) {
        self.0 = Some(if self.0.is_none() { Some(tail) } else { None });
    }
}

/// What a numbering is found by: memory key and length.
fn numbering_of(rkey: u32, len: u32) -> u64 {
    u64::from(rkey) << 32 | u64::from(len)
}

impl Engine {
    /// A frame passes, perhaps with another address: connections are not translated.
    pub(crate) fn pass_in_place(&mut self, side: Side, frame: &mut Frame<'_>, out: &mut Out) {
        let Some(steering) = self.in_place.as_mut().filter(|_| side == Side::Client) else {
            return self.pass(frame, out);
        };
        let Ok(Classified::Rc(layout)) = classify(frame.bytes()) else {
            return self.pass(frame, out);
        };
        let verdict = steering.on_request(&self.policy.profile, frame.bytes(), &layout);
        let address = match verdict {
            Verdict::Pass => return self.pass(frame, out),
            Verdict::Left => {
                self.counters.unsteered_atomics += 1;
                return self.pass(frame, out);
            }
            Verdict::Atomic(address) => {
                self.counters.steered_atomics += 1;
                address
            }
            Verdict::Read(address) => {
                self.counters.steered_reads += 1;
                address
            }
        };
        redirect(&self.icrc, frame.bytes_mut(), &layout, address);
        out.push(Action::Forward(frame.token(), side.opposite()));
    }
}

/// Changes the address of a READ or an atomic, and the ICRC as much.
fn redirect(tables: &PatchTables, frame: &mut [u8], layout: &Layout, address: u64) {
    let (ip, udp) = (usize::from(layout.ip), usize::from(layout.udp));
    // READs and atomics have their address in the same place.
    let header = usize::from(layout.bth) + 12;
    let mut old = [0; HEADERS_MAX];
    let changed = ip..header + 8;
    let (Some(old), Some(now)) = (old.get_mut(..changed.len()), frame.get(changed)) else { return };
    old.copy_from_slice(now);
    if let Some(Ok(mut reth)) = frame.get_mut(header..).map(Reth::new_checked) {
        reth.set_virtual_address(address);
    }
    if let Some(Ok(mut udp)) = frame.get_mut(udp..).map(Udp::new_checked) {
        // RoCEv2 allows none, and senders use it (RoCEv2 annex A17.3.1).
        udp.set_checksum(0);
    }
    tables.patch_frame(old, frame, layout);
}
