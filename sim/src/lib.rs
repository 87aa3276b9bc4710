//! The simulator.

pub mod memory;
pub mod rc;
