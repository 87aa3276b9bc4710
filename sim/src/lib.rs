//! The simulator and the commands of `qpmux`.

pub mod apps;
pub mod bench;
pub mod calibrate;
mod chance;
pub mod cli;
mod clover_verbs;
pub mod cluster;
pub mod connections_file;
mod dice;
pub mod event;
mod fabric;
mod faults;
pub mod files;
pub mod host;
pub mod inspect;
pub mod memory;
pub mod nic;
pub mod paper;
pub mod rc;
pub mod replay;
pub mod store;
pub mod synth;
mod text;
pub mod torture;
pub mod verbs;
