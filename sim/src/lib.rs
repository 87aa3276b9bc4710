//! The simulator and the commands of `qpmux`.

pub mod cli;
pub mod connections_file;
pub mod files;
pub mod host;
pub mod inspect;
pub mod memory;
pub mod rc;
pub mod replay;
pub mod synth;
pub mod torture;
