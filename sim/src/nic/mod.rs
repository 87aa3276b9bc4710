//! What an adapter costs: one small model per cost, and presets of real adapters.

mod params;
mod preset;

pub use params::{Kind, ParamError, Params, Sourced, Spec};
pub use preset::{NAMES, Preset, PresetError};
