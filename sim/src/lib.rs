//! The simulator and the commands of `qpmux`.

pub mod apps;
mod chance;
pub mod cli;
pub mod connections_file;
mod dice;
mod fabric;
mod faults;
pub mod files;
pub mod host;
pub mod inspect;
pub mod memory;
pub mod rc;
pub mod replay;
pub mod synth;
mod text;
pub mod torture;
