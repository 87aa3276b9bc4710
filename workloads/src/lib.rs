//! Applications: profiles that say which operations carry a key, seeded generators of keys and
//! operations, and clients as state machines.

pub mod clover;
pub mod keys;
mod mixed;
mod profile;

pub use mixed::{Mixed, MixedHasher};
pub use profile::{ProfileError, built_in_profiles, load_profile, parse_profile};
