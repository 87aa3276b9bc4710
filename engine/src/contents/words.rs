//! What words of servers' memory hold.
//!
//! A word is known while everything that changes it runs on one server queue pair, in an order that
//! the engine decides. A request for it on another queue pair ends that for good, and so does an
//! answer that contradicts what was known: somebody writes the word past the engine.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::ids::{DomainId, ServerQpId};
use crate::policy::{Cache, PlaceId, Put, mix};
use crate::time::Nanos;
use crate::wire::ServerPsn;

/// Bytes of a word that atomics work on (IBTA vol. 1, 9.4.5).
pub(crate) const WORD: u64 = 8;
/// Bytes of a granule: WRITEs are compared with words by the granules that both touch.
const GRANULE: u64 = 64;
/// Longest WRITE whose words are looked at one by one, in bytes; of longer ones all are forgotten.
const LOOKED_AT_MAX: u64 = 1 << 16;

/// Servers remembered that keep words in an unexpected byte order; when there are more, all do.
const DISORDERED_MAX: usize = 64;

/// What is known of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holds {
    /// Nothing.
    Unknown,
    /// The answer of the atomic with this PSN will say.
    Asked(ServerPsn),
    /// This, once all that is bound has run.
    Known(u64),
    /// Nothing, for good.
    Off,
}

#[derive(Clone, Copy)]
struct Word {
    holds: Holds,
    /// Of its key. Another key's request for it may run anywhere.
    place: PlaceId,
    server_qp: ServerQpId,
    /// Of the server queue pair, when the word was first asked for there.
    epoch: u32,
    /// The newest request that may have changed it.
    changed: ServerPsn,
}

impl Word {
    fn is_of(&self, user: User, epoch: u32) -> bool {
        self.place == user.place && self.server_qp == user.server_qp && self.epoch == epoch
    }
}

/// Whose word it is: the place of its key, and the server queue pair that holds the place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct User {
    pub(crate) server_qp: ServerQpId,
    pub(crate) place: PlaceId,
}

/// What stands in one granule, of all granules with the same hash.
#[derive(Clone, Copy, Default)]
struct Granule {
    words: u32,
    /// Requests on their way that write there, and the one queue pair that they are all on.
    writes: u32,
    server_qp: Option<ServerQpId>,
    /// Those of them that are in the place of an atomic.
    replaced: u32,
}

/// A range of one domain's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) domain: DomainId,
    pub(crate) start: u64,
    pub(crate) len: u32,
}

impl Range {
    fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.len))
    }

    /// First addresses of the granules that it touches.
    fn granules(self) -> impl Iterator<Item = u64> {
        let first = self.start / GRANULE;
        let last = self.end().saturating_sub(1) / GRANULE;
        let some = if self.len == 0 { 0 } else { last - first + 1 };
        (0..some).map(move |i| (first + i) * GRANULE)
    }
}

/// How a request stands to the words that it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// It is one of a key's: on the server queue pair that holds the key's place, or alone while
    /// nothing else of the place is on its way.
    Keyed(PlaceId),
    /// It fills a slot anew: whoever used that before does so no more.
    Fresh,
    /// It is its client's own business.
    Own,
}

/// A bounded number of words.
pub(crate) struct Words {
    words: Cache<Word>,
    granules: Box<[Granule]>,
    /// Raised when it is not known any more what a server queue pair has done.
    epochs: Box<[u32]>,
    /// Messages of several packets that write, on their way: any word may be among theirs.
    long_writes: u32,
    /// Until then requests may be on their way that have passed untranslated.
    passing_until: Nanos,
    /// Servers whose adapters keep words in another byte order than they are said to.
    disordered: Vec<DomainId>,
}

impl Words {
    /// Room for `words_max` words; none for 0.
    pub(crate) fn new(words_max: u32, server_qps: usize) -> Words {
        let granules = match words_max {
            0 => 0,
            words => (words as usize * 4).next_power_of_two(),
        };
        let server_qps = if words_max == 0 { 0 } else { server_qps };
        Words {
            words: Cache::new(words_max),
            granules: vec![Granule::default(); granules].into(),
            epochs: vec![0; server_qps].into(),
            long_writes: 0,
            passing_until: Nanos(0),
            disordered: Vec::with_capacity(DISORDERED_MAX),
        }
    }

    fn is_empty(&self) -> bool {
        self.granules.is_empty()
    }

    fn epoch(&self, id: ServerQpId) -> u32 {
        self.epochs.get(id.index()).copied().unwrap_or(0)
    }

    /// A request passes untranslated that may write any word, and may be on its way until then.
    pub(crate) fn on_passing(&mut self, now: Nanos, until: Nanos) {
        if self.is_passed(now) {
            self.forget_all();
        }
        self.passing_until = self.passing_until.max(until);
    }

    /// Whether all that has passed untranslated has arrived or is lost: before, no word is known.
    pub(crate) fn is_passed(&self, now: Nanos) -> bool {
        now >= self.passing_until
    }

    fn forget_all(&mut self) {
        self.epochs.iter_mut().for_each(|epoch| *epoch = epoch.wrapping_add(1));
    }

    /// It is not known any more what ran on a server queue pair.
    pub(crate) fn forget(&mut self, id: ServerQpId) {
        if let Some(epoch) = self.epochs.get_mut(id.index()) {
            *epoch = epoch.wrapping_add(1);
        }
    }

    /// What a word holds, to a request on this server queue pair.
    pub(crate) fn holds(&mut self, domain: DomainId, address: u64, user: User) -> Holds {
        let epoch = self.epoch(user.server_qp);
        match self.words.get_mut(domain, address) {
            Some(word) if word.holds == Holds::Off => Holds::Off,
            Some(word) if word.is_of(user, epoch) => word.holds,
            _ => Holds::Unknown,
        }
    }

    /// A request on its way gives a word a value, or asks what it holds. `false` if there is no
    /// room for the word, if something else on its way may change it, or if it is another key's
    /// as well: then it is off, unless its slot is filled anew (`fresh`).
    pub(crate) fn set(
        &mut self,
        domain: DomainId,
        address: u64,
        user: User,
        psn: ServerPsn,
        holds: Holds,
        fresh: bool,
    ) -> bool {
        let User { server_qp, place } = user;
        let word = Word { holds, place, server_qp, epoch: self.epoch(server_qp), changed: psn };
        let quiet = self.is_quiet(domain, address, server_qp);
        if let Some(known) = self.words.get_mut(domain, address) {
            if known.holds == Holds::Off || known.place != place && !fresh {
                known.holds = Holds::Off;
                return false;
            }
            *known = word;
            if !quiet {
                known.holds = Holds::Unknown;
            }
            return quiet;
        }
        if !quiet {
            return false;
        }
        let put = self.words.insert(domain, address, word, |word| word.holds != Holds::Off);
        match put {
            Put::Nowhere => return false,
            Put::InsteadOf(domain, address) => self.count_word(domain, address, false),
            Put::InRoom => {}
        }
        self.count_word(domain, address, true);
        true
    }

    /// The answer of an atomic says what the word held, and so what it holds now, unless something
    /// behind it changed that.
    pub(crate) fn on_answer(
        &mut self,
        domain: DomainId,
        address: u64,
        (id, psn): (ServerQpId, ServerPsn),
        value: u64,
    ) {
        let epoch = self.epoch(id);
        if let Some(word) = self.words.get_mut(domain, address)
            && word.holds == Holds::Asked(psn)
            && word.server_qp == id
            && word.epoch == epoch
        {
            word.holds = Holds::Known(value);
        }
    }

    /// What a READ found in a word. `false` if that contradicts what is known: then the word is
    /// off.
    pub(crate) fn compare(
        &mut self,
        domain: DomainId,
        address: u64,
        (id, psn): (ServerQpId, ServerPsn),
        value: u64,
    ) -> bool {
        let epoch = self.epoch(id);
        let Some(word) = self.words.get_mut(domain, address) else { return true };
        let same = word.server_qp == id && word.epoch == epoch && word.changed.is_before(psn);
        let wrong = same && matches!(word.holds, Holds::Known(known) if known != value);
        if wrong {
            word.holds = Holds::Off;
        }
        !wrong
    }

    /// Nothing is to be believed of a word any more. Whether that is news: a word that was written
    /// on another server queue pair meanwhile is off for that.
    pub(crate) fn turn_off(&mut self, domain: DomainId, address: u64) -> bool {
        self.words
            .get_mut(domain, address)
            .is_some_and(|word| core::mem::replace(&mut word.holds, Holds::Off) != Holds::Off)
    }

    /// A word came back with its bytes turned round: nothing of this server's is replaced any more.
    pub(crate) fn on_disorder(&mut self, domain: DomainId) {
        if self.disordered.len() < self.disordered.capacity() && !self.is_disordered(domain) {
            self.disordered.push(domain);
        }
    }

    /// Whether a server keeps words in another byte order than it is said to.
    pub(crate) fn is_disordered(&self, domain: DomainId) -> bool {
        self.disordered.len() == self.disordered.capacity() || self.disordered.contains(&domain)
    }

    /// A request that writes a range is bound; what it writes is known where `value_at` says so.
    /// Returns how many words are off for it: they are written on another server queue pair, and
    /// such `strays` are looked at.
    pub(crate) fn on_write(
        &mut self,
        range: Range,
        (id, psn): (ServerQpId, ServerPsn),
        (manner, strays): (Manner, bool),
        value_at: impl Fn(u64) -> Option<u64>,
    ) -> u32 {
        if self.is_empty() {
            return 0;
        }
        if u64::from(range.len) > LOOKED_AT_MAX {
            self.forget_all();
            return 0;
        }
        let mut off = 0;
        for first in range.granules() {
            let words = self.granule(range.domain, first).map_or(0, |granule| granule.words);
            if words == 0 {
                continue;
            }
            for address in (first..first.saturating_add(GRANULE)).step_by(WORD as usize) {
                let touched = address < range.end() && address.saturating_add(WORD) > range.start;
                if touched {
                    let (at, value) = ((range.domain, address), value_at(address));
                    off += u32::from(self.on_written(at, (id, psn), (manner, strays), value));
                }
            }
        }
        off
    }

    /// A word is written. Whether it is off for that.
    fn on_written(
        &mut self,
        (domain, address): (DomainId, u64),
        (id, psn): (ServerQpId, ServerPsn),
        (manner, strays): (Manner, bool),
        value: Option<u64>,
    ) -> bool {
        let epoch = self.epoch(id);
        let Some(word) = self.words.get_mut(domain, address) else { return false };
        if word.holds == Holds::Off {
            return false;
        }
        let here = word.server_qp == id && word.epoch == epoch;
        word.holds = match manner {
            _ if here => value.map_or(Holds::Unknown, Holds::Known),
            Manner::Fresh => Holds::Unknown,
            Manner::Keyed(place) if place == word.place => Holds::Unknown,
            Manner::Keyed(_) | Manner::Own if !strays => return false,
            Manner::Keyed(_) | Manner::Own => Holds::Off,
        };
        word.changed = psn;
        word.holds == Holds::Off
    }

    /// Whether a request that writes a range has to wait: WRITEs in the place of atomics are on
    /// their way there, on another server queue pair. They would not see what it does.
    pub(crate) fn must_wait(&self, range: Range, id: ServerQpId) -> bool {
        range.granules().take((LOOKED_AT_MAX / GRANULE) as usize).any(|first| {
            let granule = self.index(range.domain, first).and_then(|at| self.granules.get(at));
            granule.is_some_and(|granule| granule.replaced > 0 && granule.server_qp != Some(id))
        })
    }

    /// Whether all that is on its way to a word's granule is on this server queue pair.
    pub(crate) fn is_quiet(&self, domain: DomainId, address: u64, id: ServerQpId) -> bool {
        let granule = self.index(domain, address).and_then(|at| self.granules.get(at));
        self.long_writes == 0
            && granule.is_some_and(|granule| granule.writes == 0 || granule.server_qp == Some(id))
    }

    /// Counts a request in that writes a range, until it is complete.
    pub(crate) fn begin_write(&mut self, range: Range, id: ServerQpId, replaced: bool) {
        for first in range.granules().take((LOOKED_AT_MAX / GRANULE) as usize) {
            let Some(granule) = self.granule(range.domain, first) else { return };
            let same = granule.writes == 0 || granule.server_qp == Some(id);
            granule.writes += 1;
            granule.replaced += u32::from(replaced);
            granule.server_qp = same.then_some(id);
        }
    }

    /// Counts it out. Whether others may have waited for that.
    pub(crate) fn end_write(&mut self, range: Range, replaced: bool) -> bool {
        let mut was_last = false;
        for first in range.granules().take((LOOKED_AT_MAX / GRANULE) as usize) {
            let Some(granule) = self.granule(range.domain, first) else { return false };
            granule.writes = granule.writes.saturating_sub(1);
            granule.replaced = granule.replaced.saturating_sub(u32::from(replaced));
            was_last |= replaced && granule.replaced == 0;
        }
        was_last
    }

    /// Counts a message of several packets in that writes, or out.
    pub(crate) fn count_long_write(&mut self, begins: bool) {
        let writes = self.long_writes;
        self.long_writes = if begins { writes + 1 } else { writes.saturating_sub(1) };
    }

    fn granule(&mut self, domain: DomainId, address: u64) -> Option<&mut Granule> {
        let index = self.index(domain, address)?;
        self.granules.get_mut(index)
    }

    fn index(&self, domain: DomainId, address: u64) -> Option<usize> {
        let mask = self.granules.len().checked_sub(1)?;
        let hash = mix((address / GRANULE) ^ (u64::from(domain.0) << 48)) as usize;
        Some(hash & mask)
    }

    fn count_word(&mut self, domain: DomainId, address: u64, more: bool) {
        if let Some(granule) = self.granule(domain, address) {
            let words = granule.words;
            granule.words = if more { words + 1 } else { words.saturating_sub(1) };
        }
    }
}
