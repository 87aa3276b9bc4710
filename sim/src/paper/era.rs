//! What nobody published of the experiments: the client library's times and the box's, one set for
//! each date.

use std::collections::BTreeMap;

use crate::cluster::BoxParams;
use crate::nic::{Named, PresetError, Sourced, parameters, text_with};
use crate::store::Library;

parameters! {
    /// The costs of one date's client library and box. Times in ns, unless a name says otherwise.
    EraParams;

    /// Client library, per operation.
    operation_ns: 0..=100000,
    /// Client library, per round of verbs: from what ends one to the posting of the next.
    round_ns: 0..=100000,
    /// With n threads on a machine the library takes 1 + slope * (n - 1)^exponent times as long.
    slope: 0..=10,
    /// See slope.
    exponent: 0..=2,
    /// Share of the library's times that is exponentially distributed.
    random: 0..=1,
    /// Metadata server, per message.
    metadata_ns: 0..=1000000,
    /// Cores of the box that take frames.
    box_cores_count: 1..=256,
    /// Those of them that do so where frames are mapped.
    box_receive_count: 1..=256,
    /// Those that send mapped frames; 0 where each core sends its own.
    box_send_count: 0..=256,
    /// Latency of a frame's passage through the box, besides its cores.
    box_latency_ns: 0..=100000,
    /// Time of a core for a frame.
    box_frame_ns: 0..=100000,
    /// More for the core that maps one.
    map_receive_ns: 0..=100000,
    /// Time of a sending core for a mapped frame.
    map_send_ns: 0..=100000,
    /// More for each byte of it.
    map_byte_ns: 0..=100,
}

/// When experiments were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Era {
    /// `003`.
    #[value(name = "june-2021")]
    June2021,
    /// `016` to `022`.
    #[value(name = "december-2021")]
    December2021,
}

/// Why an era cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum EraError {
    /// Its file is wrong, or there is no such box.
    #[error(transparent)]
    Preset(#[from] PresetError),
}

const ERAS: Named = Named::new(
    "date of experiments",
    &[
        ("june-2021", include_str!("../../presets/paper/june-2021.toml")),
        ("december-2021", include_str!("../../presets/paper/december-2021.toml")),
    ],
);

impl Era {
    /// Both.
    pub const ALL: [Era; 2] = [Era::June2021, Era::December2021];

    /// Its name, and that of its file in `sim/presets/paper`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Era::June2021 => "june-2021",
            Era::December2021 => "december-2021",
        }
    }

    /// What it costs.
    ///
    /// # Errors
    /// When its file is wrong.
    pub fn load(self) -> Result<EraParams, EraError> {
        Ok(ERAS.load(self.name())?.params(EraParams::from_sourced)?)
    }

    /// Its values, and where they are from.
    ///
    /// # Errors
    /// When its file is wrong.
    pub fn sourced(self) -> Result<BTreeMap<String, Sourced>, PresetError> {
        Ok(ERAS.load(self.name())?.sourced)
    }

    /// Its file with other values for what was fitted.
    ///
    /// # Errors
    /// When its file is wrong.
    pub fn file_with(self, values: &[(&str, f64)]) -> Result<String, EraError> {
        Ok(text_with(ERAS.load(self.name())?.text, values))
    }
}

impl EraParams {
    /// The client library.
    #[must_use]
    pub fn library(&self) -> Library {
        Library {
            operation_ns: self.operation_ns,
            round_ns: self.round_ns,
            slope: self.slope,
            exponent: self.exponent,
            random: self.random,
        }
    }

    /// What the prototype's box cost.
    pub fn set_prototype(&self, costs: &mut BoxParams) {
        costs.cores_count = self.box_cores_count;
        costs.mapping_cores_count = self.box_receive_count;
        costs.sending_cores_count = self.box_send_count;
        costs.latency_ns = self.box_latency_ns;
        costs.frame_ns = self.box_frame_ns;
        costs.mapped_ns = self.map_receive_ns;
        costs.send_ns = self.map_send_ns;
        costs.byte_ns = self.map_byte_ns;
    }
}
