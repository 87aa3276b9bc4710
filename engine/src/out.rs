//! What the engine wants done: one ordered list, owned by the host, of fixed size.

use alloc::boxed::Box;
use alloc::vec;

use crate::counters::DropReason;
use crate::frame::{Side, Token};
use crate::ids::ShardId;
use crate::journal::Record;
use crate::mail::Mail;

/// The longest packet or record that the engine makes by itself, in bytes.
pub const GENERATED_MAX: usize = 128;

/// Room that the engine keeps free for one step of work. An [`Out`] is never smaller.
pub const STEP_ROOM: usize = 16;

/// One thing to do. The order of actions is the order on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Transmit the frame of this call and give its buffer up.
    Forward(Token, Side),
    /// Transmit the frame of this call and keep its buffer until [`Action::Release`].
    ForwardAndRetain(Token, Side),
    /// Keep the frame of this call, untransmitted, until [`Action::Release`].
    Hold(Token),
    /// Transmit the frame of this call untouched on the side opposite to where it came in.
    Pass(Token),
    /// Give the frame's buffer up, untransmitted.
    Drop(Token, DropReason),
    /// Transmit a kept buffer; it stays kept.
    Send(Token, Side),
    /// Give a kept buffer up.
    Release(Token),
    /// Offer a kept buffer again, in a call of `handle_recalled`, in the order of the recalls.
    Recall(Token),
    /// Transmit [`Out::generated`] of this index.
    Generated(u16, Side),
    /// Add [`Out::generated`] of this index to the log, before any later action is carried out:
    /// see [`crate::journal`].
    Record(u16),
    /// Hand [`Out::mail`] of this index over; with a token, the buffer goes along and belongs to
    /// the receiver.
    Mail(ShardId, u16, Option<Token>),
}

/// The ordered list of actions that one call leaves behind. The host carries them out, then
/// clears the list.
#[derive(Debug)]
pub struct Out {
    actions: Box<[Action]>,
    len: usize,
    generated: Box<[Generated]>,
    generated_len: usize,
    /// Apart from the actions, which are short so.
    mail: Box<[Option<Mail>]>,
    mail_len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Generated {
    bytes: [u8; GENERATED_MAX],
    len: usize,
}

impl Out {
    /// A list with room for `capacity` actions, at least [`STEP_ROOM`], at most 65,535.
    #[must_use]
    pub fn new(capacity: usize) -> Out {
        let capacity = capacity.clamp(STEP_ROOM, usize::from(u16::MAX));
        let blank = Generated { bytes: [0; GENERATED_MAX], len: 0 };
        Out {
            actions: vec![Action::Release(Token(0)); capacity].into_boxed_slice(),
            len: 0,
            generated: vec![blank; capacity].into_boxed_slice(),
            generated_len: 0,
            mail: vec![None; capacity].into_boxed_slice(),
            mail_len: 0,
        }
    }

    /// The actions, in order.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        self.actions.get(..self.len).unwrap_or(&[])
    }

    /// The packet that [`Action::Generated`] names, or the record that [`Action::Record`] does.
    #[must_use]
    pub fn generated(&self, index: u16) -> &[u8] {
        self.generated
            .get(usize::from(index))
            .and_then(|packet| packet.bytes.get(..packet.len))
            .unwrap_or(&[])
    }

    /// The message that [`Action::Mail`] names.
    #[must_use]
    pub fn mail(&self, index: u16) -> Option<Mail> {
        self.mail.get(usize::from(index)).copied().flatten()
    }

    /// Empties the list, after the host has carried it out.
    pub fn clear(&mut self) {
        self.len = 0;
        self.generated_len = 0;
        self.mail_len = 0;
    }

    /// Whether one more step of the engine's work fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.actions.len() - self.len >= STEP_ROOM
    }

    /// Whether one more step fits behind this one.
    pub(crate) fn has_more_room(&self) -> bool {
        self.actions.len() - self.len >= 2 * STEP_ROOM
    }

    pub(crate) fn push(&mut self, action: Action) {
        debug_assert!(self.len < self.actions.len(), "a step pushed more than STEP_ROOM actions");
        if let Some(slot) = self.actions.get_mut(self.len) {
            *slot = action;
            self.len += 1;
        }
    }

    /// Adds a message.
    pub(crate) fn push_mail(&mut self, to: ShardId, mail: Mail, token: Option<Token>) {
        let index = self.mail_len;
        let Some(place) = self.mail.get_mut(index) else {
            debug_assert!(false, "as many messages as actions fit");
            return;
        };
        *place = Some(mail);
        self.mail_len += 1;
        self.push(Action::Mail(to, index as u16, token));
    }

    /// Adds a packet that `write` makes; `write` returns its length, or `None` to add nothing.
    #[inline(always)]
    pub(crate) fn push_generated(
        &mut self,
        side: Side,
        write: impl FnOnce(&mut [u8; GENERATED_MAX]) -> Option<usize>,
    ) -> bool {
        let index = self.generate(write);
        index.is_some_and(|index| {
            self.push(Action::Generated(index, side));
            true
        })
    }

    /// Adds a record, which is never longer than [`GENERATED_MAX`].
    pub(crate) fn push_record(&mut self, record: &Record) {
        if let Some(index) = self.generate(|buffer| record.encode(buffer)) {
            self.push(Action::Record(index));
        }
    }

    #[inline(always)]
    fn generate(
        &mut self,
        write: impl FnOnce(&mut [u8; GENERATED_MAX]) -> Option<usize>,
    ) -> Option<u16> {
        let index = self.generated_len;
        let Some(packet) = self.generated.get_mut(index) else {
            debug_assert!(false, "as many generated packets as actions fit");
            return None;
        };
        packet.len = write(&mut packet.bytes)?;
        self.generated_len += 1;
        Some(index as u16)
    }
}
