//! The request that is expected: checks and execution.

use qpmux_engine::wire::{AtomicEthRepr, Layout, NakCode, Opcode, RethRepr};

use super::answers::{Body, ReadData};
use super::{Done, End, OpenMessage, OverDepth, Record, Region, Request, Responder};
use crate::memory::{Access, digest};

/// A refusal: the code, the rule that the requester has broken, and why.
struct Refusal {
    code: NakCode,
    rule: &'static str,
    why: String,
}

impl Refusal {
    fn invalid(why: impl Into<String>) -> Self {
        Self { code: NakCode::InvalidRequest, rule: "I-S6", why: why.into() }
    }

    fn access(why: impl Into<String>) -> Self {
        Self { code: NakCode::RemoteAccess, rule: "I-S6", why: why.into() }
    }
}

impl Responder {
    /// Executes the expected request or refuses it.
    pub(super) fn accept(&mut self, request: &mut Request<'_>) {
        self.stats.accepted += 1;
        let (now, psn) = (request.now, request.layout.psn);
        if self.config.ending.is_some_and(|ending| ending.how == End::Refuses) && self.has_ended() {
            self.answer(now, psn, Body::Nak(NakCode::RemoteOperational));
            self.dead = true;
            return;
        }
        if let Err(refusal) = self.check_order(request.layout) {
            self.refuse(now, psn, refusal.code, refusal.rule, refusal.why);
            return;
        }
        if self.not_ready(request.layout) {
            self.gap_nak_sent = false;
            self.rnr_nak_sent = true;
            self.stats.rnr_naks += 1;
            self.answer(now, psn, Body::RnrNak(self.config.rnr_timer));
            return;
        }
        let done = match request.layout.opcode {
            Opcode::ReadRequest => self.execute_read(request),
            opcode if opcode.is_atomic() => self.execute_atomic(request),
            opcode if opcode.is_write() => self.execute_write(request),
            _ => self.execute_send(request),
        };
        if let Err(refusal) = done {
            self.refuse(now, psn, refusal.code, refusal.rule, refusal.why);
        }
    }

    /// Opcode sequence and what the queue pair allows (IBTA vol. 1, 9.7.4).
    fn check_order(&self, layout: &Layout) -> Result<(), Refusal> {
        let opcode = layout.opcode;
        let fits = match self.open {
            None => opcode.starts_message(),
            Some(open) => !opcode.starts_message() && opcode.is_write() == open.write,
        };
        if !fits {
            let why = format!("{} with a message {:?} open", opcode.name(), self.open);
            return Err(Refusal { rule: "I-S5", ..Refusal::invalid(why) });
        }
        let allowed = match opcode {
            Opcode::ReadRequest => self.config.allow_read,
            _ if opcode.is_atomic() => self.config.allow_atomic,
            _ if opcode.is_write() => self.config.allow_write,
            _ => true,
        };
        if !allowed {
            return Err(Refusal::invalid(format!("{} is not allowed", opcode.name())));
        }
        if opcode == Opcode::ReadRequest || opcode.is_atomic() {
            self.check_depth()?;
        }
        Ok(())
    }

    fn check_depth(&self) -> Result<(), Refusal> {
        let depth = self.config.max_dest_rd_atomic;
        if depth == 0 {
            return Err(Refusal::invalid("no READ or atomic is allowed"));
        }
        if self.config.over_depth == OverDepth::Refuse && self.answers.in_flight() >= depth {
            let why = format!("{depth} READs and atomics are in flight");
            return Err(Refusal { rule: "I-S7", ..Refusal::invalid(why) });
        }
        Ok(())
    }

    /// Whether the request has to come again later: no receive buffer, or so configured.
    fn not_ready(&mut self, layout: &Layout) -> bool {
        let opcode = layout.opcode;
        let consumes = (opcode.is_send() && opcode.starts_message())
            || (opcode.is_write() && opcode.has_immediate());
        if consumes && self.receives_left == Some(0) {
            return true;
        }
        let every = self.config.rnr_every;
        if opcode.starts_message() && every != 0 && !self.rnr_nak_sent {
            self.messages_begun += 1;
            if self.messages_begun.is_multiple_of(every) {
                return true;
            }
        }
        if consumes {
            self.stats.receives += 1;
            self.receives_left = self.receives_left.map(|left| left - 1);
        }
        false
    }

    /// Moves on behind an executed packet of `psns` PSNs.
    fn advance(&mut self, layout: &Layout, psns: u32) {
        self.gap_nak_sent = false;
        self.rnr_nak_sent = false;
        self.contents.advance(self.expected, psns);
        self.expected = self.expected.add(psns);
        self.accepted_psns += u64::from(psns);
        if layout.opcode != Opcode::ReadRequest {
            self.newest_non_read = Some(layout.psn);
        }
        if layout.opcode.is_write() || layout.opcode.is_send() {
            self.newest_write = Some(layout.psn);
        }
        if layout.opcode.ends_message() {
            self.msn = self.msn.add(1);
        }
    }

    /// Acknowledges a WRITE or SEND packet, now or with others.
    fn acknowledge(&mut self, request: &Request<'_>) {
        let due = request.now + self.config.ack_delay;
        let every = self.config.ack_every;
        if request.layout.ack_request && self.answers.owe(request.layout.psn, due, every) {
            self.flush_owed(request.now);
        }
    }

    fn execute_write(&mut self, request: &mut Request<'_>) -> Result<(), Refusal> {
        let layout = request.layout;
        let data = layout.payload(request.frame);
        let (address, left) = match (layout.reth(request.frame), self.open) {
            (Some(reth), _) => {
                self.check_region(reth, |region| region.write)?;
                (reth.virtual_address, reth.dma_length)
            }
            (None, Some(open)) => (open.address, open.left),
            (None, None) => return Err(Refusal::invalid("WRITE without RETH")),
        };
        let rest = self.check_write_length(layout.opcode, data.len(), left)?;
        request.memory.write(address, data);
        if !data.is_empty() {
            self.note(request, address, false, || Access::Write { data: data.into() });
        }
        let address = address.wrapping_add(data.len() as u64);
        self.open = rest.map(|left| OpenMessage { write: true, address, left });
        self.advance(layout, 1);
        self.acknowledge(request);
        Ok(())
    }

    /// Bytes still to come after a packet of `length` when `left` were, or `None` at the end
    /// (IBTA vol. 1, 9.7.4: payload lengths by opcode).
    fn check_write_length(
        &self,
        opcode: Opcode,
        length: usize,
        left: u32,
    ) -> Result<Option<u32>, Refusal> {
        let (pmtu, length) = (self.config.link.pmtu as u32, length as u32);
        if left > self.config.max_message {
            return Err(Refusal::invalid(format!("WRITE of {left} bytes")));
        }
        let fits = if opcode.ends_message() {
            length == left && length <= pmtu && (length > 0 || opcode.starts_message())
        } else {
            length == pmtu && left > pmtu
        };
        if !fits {
            let name = opcode.name();
            return Err(Refusal::invalid(format!("{name} of {length} bytes, {left} are left")));
        }
        Ok((!opcode.ends_message()).then(|| left - length))
    }

    fn execute_send(&mut self, request: &mut Request<'_>) -> Result<(), Refusal> {
        let layout = request.layout;
        let left = self.open.map_or(self.config.max_message, |open| open.left);
        let length = u32::from(layout.payload_len);
        let pmtu = self.config.link.pmtu as u32;
        let ends = layout.opcode.ends_message();
        if length > left || length > pmtu || (!ends && length != pmtu) {
            return Err(Refusal::invalid(format!("{} of {length} bytes", layout.opcode.name())));
        }
        let open = OpenMessage { write: false, address: 0, left: left - length };
        self.open = (!ends).then_some(open);
        self.advance(layout, 1);
        self.acknowledge(request);
        Ok(())
    }

    fn execute_read(&mut self, request: &mut Request<'_>) -> Result<(), Refusal> {
        let layout = request.layout;
        let reth =
            layout.reth(request.frame).ok_or_else(|| Refusal::invalid("READ without RETH"))?;
        let length = reth.dma_length;
        if length > self.config.max_message {
            return Err(Refusal::invalid(format!("READ of {length} bytes")));
        }
        self.check_region(reth, |region| region.read)?;
        let address = reth.virtual_address;
        let psns = length.div_ceil(self.config.link.pmtu as u32).max(1);
        let mut data = self.answers.take_buffer();
        request.memory.read_into(address, length as usize, &mut data);
        self.note(request, address, false, || Access::Read { length, digest: digest(&data) });
        self.advance(layout, psns);
        let done = Done::Read { address, rkey: reth.remote_key, length };
        let body = Body::Read(ReadData { data, sent: 0, continues: false });
        self.respond(request, Record { psn: layout.psn, psns, done }, body);
        Ok(())
    }

    fn execute_atomic(&mut self, request: &mut Request<'_>) -> Result<(), Refusal> {
        let layout = request.layout;
        let Some(eth) = layout.atomic_eth(request.frame) else {
            return Err(Refusal::invalid("atomic without AtomicETH"));
        };
        let address = eth.virtual_address;
        if address % 8 != 0 {
            return Err(Refusal::invalid(format!("atomic at {address:#x}")));
        }
        let word = RethRepr { virtual_address: address, remote_key: eth.remote_key, dma_length: 8 };
        self.check_region(word, |region| region.atomic)?;
        let opcode = layout.opcode;
        let (original, access) = self.change_word(request, eth);
        self.note(request, address, false, || access);
        self.advance(layout, 1);
        let done = Done::Atomic { opcode, address, original };
        self.respond(request, Record { psn: layout.psn, psns: 1, done }, Body::Atomic(original));
        Ok(())
    }

    fn change_word(&self, request: &mut Request<'_>, eth: AtomicEthRepr) -> (u64, Access) {
        let (address, operand) = (eth.virtual_address, eth.swap_or_add);
        if request.layout.opcode == Opcode::CompareSwap {
            let before = request.memory.compare_swap(address, eth.compare, operand);
            (before, Access::CompareSwap { compare: eth.compare, swap: operand, before })
        } else {
            let before = request.memory.fetch_add(address, operand);
            (before, Access::FetchAdd { add: operand, before })
        }
    }

    /// Records a READ or atomic for its duplicates, and answers it.
    fn respond(&mut self, request: &Request<'_>, record: Record, body: Body) {
        self.records.push_back(record);
        while self.records.len() > self.config.max_dest_rd_atomic {
            self.records.pop_front();
        }
        self.settle_owed(request.now);
        let ready_at = request.now + self.config.answer_delay;
        self.answers.push_in_flight(ready_at, record.psn, self.msn, body);
    }

    /// The key has to name a region that holds all of it; a length of 0 needs none
    /// (IBTA vol. 1, 9.7.4; rxe_resp.c, qib_rc.c).
    fn check_region(&self, reth: RethRepr, right: fn(&Region) -> bool) -> Result<(), Refusal> {
        if reth.dma_length == 0 {
            return Ok(());
        }
        let (key, address) = (reth.remote_key, reth.virtual_address);
        let Some(region) = self.config.regions.iter().find(|region| region.rkey == key) else {
            return Err(Refusal::access(format!("unknown R_Key {key:#x}")));
        };
        if !region.contains(address, u64::from(reth.dma_length)) {
            let length = reth.dma_length;
            return Err(Refusal::access(format!("{length} bytes at {address:#x} are outside")));
        }
        if !right(region) {
            return Err(Refusal::access(format!("R_Key {key:#x} does not allow it")));
        }
        Ok(())
    }
}
