//! Application profiles: which operations of an application carry a key, and where.

mod profile;

pub use profile::{ProfileError, built_in_profiles, load_profile, parse_profile};
