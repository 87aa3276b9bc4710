//! What outlives an engine: a stream of records of what may not be forgotten, and what has to be
//! kept of it.
//!
//! With [`crate::Config::records`], the engine hands out a record before the packet that it is
//! about: what it bound to a server's PSN, what an atomic's word had held. The host keeps one log,
//! in which what a shard mails comes after what that shard has recorded. [`Journal`] reads such a
//! log and keeps what [`crate::Engine::resume`] needs of it; the frames themselves are in no
//! record, since the clients have them.
//!
//! A record begins with its kind and the version of its form, one byte each; numbers are little
//! endian; each kind has one length, [`Record::len`].

mod codec;
mod record;
mod store;

#[cfg(test)]
mod tests;

pub use codec::RecordError;
pub use record::{
    Binding, ClientPoint, Extent, Operands, OwnRead, PastRead, Record, ServerPoint, Steer,
};
pub use store::{Journal, JournalError};

pub(crate) use record::PAST_READS;
pub(crate) use store::{KnownClient, KnownServer};
