//! The answers that a client is sent all the time, made once for each connection: of the next one
//! only PSN, AETH and an atomic's value are new, and the ICRC follows.

use super::generate::{self, Answer};
use crate::out::GENERATED_MAX;
use crate::policy::Connection;
use crate::wire::{AethRepr, ClientPsn, Msn, Syndrome, icrc, usual};

/// Bytes of an acknowledgement and of an atomic's, in the usual shape.
const ACK_LEN: usize = usual::HEADERS + 4 + icrc::LEN;
const ATOMIC_LEN: usize = ACK_LEN + 8;

/// Both answers of a connection, with zeros for what is new in each.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct AnswerForm {
    ack: [u8; ACK_LEN],
    atomic: [u8; ATOMIC_LEN],
    /// They are made, or cannot be: the connection's packets have another shape.
    known: Option<bool>,
}

impl AnswerForm {
    /// Not made yet.
    pub(crate) const UNKNOWN: AnswerForm =
        AnswerForm { ack: [0; ACK_LEN], atomic: [0; ATOMIC_LEN], known: None };

    /// Reads a little of each line.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        let atomic = self.atomic.first().zip(self.atomic.last());
        atomic.map_or(0, |(first, last)| u64::from(self.ack[0] ^ first ^ last))
    }

    /// Makes both. `None` if they do not have the usual shape.
    fn make(&mut self, connection: &Connection) -> Option<()> {
        let (psn, msn) = (ClientPsn::new(0), Msn::new(0));
        let answer = Answer { psn, msn, syndrome: Syndrome::Ack { credits: 0 }, original: None };
        let mut buffer = [0; GENERATED_MAX];
        let len = generate::write(&mut buffer, connection, &answer)?;
        self.ack = buffer.get(..len)?.try_into().ok()?;
        let answer = Answer { original: Some(0), ..answer };
        let len = generate::write(&mut buffer, connection, &answer)?;
        self.atomic = buffer.get(..len)?.try_into().ok()?;
        Some(())
    }

    /// Writes an answer; its length. `None` if it has to be made another way.
    pub(crate) fn write(
        &mut self,
        connection: &Connection,
        answer: &Answer,
        buffer: &mut [u8; GENERATED_MAX],
    ) -> Option<usize> {
        let known = self.known.unwrap_or_else(|| {
            let made = self.make(connection).is_some();
            self.known = Some(made);
            made
        });
        if !known {
            return None;
        }
        let psn = answer.psn.to_wire().value();
        let aeth = AethRepr { syndrome: answer.syndrome, msn: answer.msn };
        let first = [psn.to_be_bytes(), usual::aeth_bytes(&aeth)];
        // Right behind the queue pair number, whose last word the ICRC has to be moved along from.
        const AT: usize = usual::HEADERS - 4;
        match answer.original {
            None => {
                *buffer.first_chunk_mut()? = self.ack;
                put(buffer, AT, &first);
                let words = [word(first[0]), word(first[1])];
                icrc::patch_behind(buffer, words, ACK_LEN - icrc::LEN);
                Some(ACK_LEN)
            }
            Some(original) => {
                let [a, b, c, d, e, f, g, h] = original.to_be_bytes();
                let value = [[a, b, c, d], [e, f, g, h]];
                *buffer.first_chunk_mut()? = self.atomic;
                let words = [first[0], first[1], value[0], value[1]];
                put(buffer, AT, &words);
                let words = [word(first[0]), word(first[1]), word(value[0]), word(value[1])];
                icrc::patch_behind(buffer, words, ATOMIC_LEN - icrc::LEN);
                Some(ATOMIC_LEN)
            }
        }
    }
}

fn word(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

fn put<const N: usize>(buffer: &mut [u8; GENERATED_MAX], at: usize, words: &[[u8; 4]; N]) {
    let bytes = words.as_flattened();
    if let Some(place) = buffer.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
