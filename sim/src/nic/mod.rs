//! What an adapter costs: one small model per cost, and presets of real adapters.

mod atomics;
mod cache;
mod dcqcn;
mod lock;
mod named;
mod network;
mod params;
mod pcie;
mod preset;
mod server;

pub(crate) use atomics::{Kind as WordKind, Words};
pub(crate) use cache::Cache;
pub(crate) use dcqcn::Rate;
pub(crate) use lock::{HandOff, Lock};
pub use named::PresetError;
pub(crate) use named::{Named, text_with};
pub use network::Network;
pub use params::{Kind, ParamError, Parameters, Params, Sourced, Spec};
pub(crate) use params::{check, parameters, unknown};
pub use pcie::{Pcie, PcieCounts, Place};
pub(crate) use preset::rounded;
pub use preset::{NAMES, Preset};
pub(crate) use server::{Server, Slots};
