//! The simulator.

pub mod inspect;
pub mod memory;
pub mod rc;
