//! The answers that clients are sent all the time, made of what the packets of their connections
//! have in common.

use super::ethernet::ETHERTYPE_IPV4;
use super::facts::{Facts, checksum, put};
use super::icrc;
use super::ipv4::{DONT_FRAGMENT, Ipv4Repr, VERSION_AND_LENGTH};
use super::opcode::Opcode;
use super::psn::Psn;
use super::udp::{PROTOCOL, ROCE_PORT};
use super::usual::{BTH, HEADERS, IP, UDP};

/// What all answers of one kind have in common.
struct Form {
    opcode: u8,
    ip_len: u16,
    /// What that does to the ICRC, at the last word of the BTH.
    residue: u32,
}

static ACKNOWLEDGE: Form = Form::of(Opcode::Acknowledge);
static ATOMIC_ACKNOWLEDGE: Form = Form::of(Opcode::AtomicAcknowledge);

impl Form {
    const fn of(opcode: Opcode) -> Form {
        let ip_len = (HEADERS - IP + opcode.headers_len() + icrc::LEN) as u16;
        let whole = [0, 0, DONT_FRAGMENT.to_be_bytes()[0], 0];
        let residue = icrc::shape(opcode, ip_len) ^ icrc::residue_of_identification(whole);
        Form { opcode: opcode.to_byte(), ip_len, residue }
    }
}

impl Facts {
    /// Writes an acknowledgement, or an atomic's with the value that the word had before, to the
    /// start of a buffer, as [`super::build()`] would. Its length; `None`, and nothing of use is
    /// there, if the buffer is shorter.
    #[inline(always)]
    pub(crate) fn write_answer(
        &self,
        psn: Psn,
        aeth: [u8; 4],
        original: Option<u64>,
        buffer: &mut [u8],
    ) -> Option<usize> {
        match original {
            None => self.write(&ACKNOWLEDGE, psn, [aeth], buffer),
            Some(original) => {
                let [a, b, c, d, e, f, g, h] = original.to_be_bytes();
                let words = [aeth, [a, b, c, d], [e, f, g, h]];
                self.write(&ATOMIC_ACKNOWLEDGE, psn, words, buffer)
            }
        }
    }

    /// The same with so many words behind the headers that every packet has.
    #[inline(always)]
    fn write<const WORDS: usize>(
        &self,
        form: &Form,
        psn: Psn,
        words: [[u8; 4]; WORDS],
        buffer: &mut [u8],
    ) -> Option<usize> {
        let (head, rest) = buffer.split_first_chunk_mut::<HEADERS>()?;
        let (body, rest) = rest.as_chunks_mut::<4>().0.split_first_chunk_mut::<WORDS>()?;
        self.write_head(form, head);
        let psn = psn.value().to_be_bytes();
        put(head, BTH + 8, psn);
        *body = words;
        let le = u32::from_le_bytes;
        let mut register = form.residue ^ self.residue ^ le(psn);
        let (pairs, last) = words.as_chunks::<2>();
        for [first, second] in pairs {
            register = icrc::advance_pair(register, le(*first)) ^ le(*second);
        }
        for one in last {
            register = icrc::advance_word(register) ^ le(*one);
        }
        *rest.first_mut()? = (!icrc::advance_word(register)).to_le_bytes();
        Some(HEADERS + 4 * WORDS + icrc::LEN)
    }

    /// Writes all headers but the last word of the BTH.
    #[inline(always)]
    fn write_head(&self, form: &Form, head: &mut [u8; HEADERS]) {
        let ecn = u32::from(self.traffic_class & 3);
        let sum = self.sum + u32::from(form.ip_len) + u32::from(DONT_FRAGMENT) + ecn;
        put(head, 0, self.macs);
        put(head, IP - 2, ETHERTYPE_IPV4.to_be_bytes());
        put(head, IP, [VERSION_AND_LENGTH, self.traffic_class]);
        put(head, IP + 2, form.ip_len.to_be_bytes());
        put(head, IP + 4, [0; 2]);
        put(head, IP + 6, DONT_FRAGMENT.to_be_bytes());
        put(head, IP + 8, [self.hop_limit, PROTOCOL]);
        put(head, IP + 10, checksum(sum).to_be_bytes());
        put(head, IP + 12, self.ips);
        put(head, UDP, self.source_port.to_be_bytes());
        put(head, UDP + 2, ROCE_PORT.to_be_bytes());
        put(head, UDP + 4, (form.ip_len - Ipv4Repr::LEN as u16).to_be_bytes());
        put(head, UDP + 6, [0; 2]);
        let bth = u32::from(form.opcode) << 24 | self.path;
        put(head, BTH, bth.to_be_bytes());
        put(head, BTH + 4, self.dest_qp.to_be_bytes());
    }
}
