//! Limits of what runs have shown.

use schemars::JsonSchema;
use serde::Serialize;

/// A limit, and how far the prediction is from it.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Check {
    /// What is limited.
    pub what: String,
    /// The value.
    pub value: f64,
    /// The least it may be.
    pub least: f64,
    /// The most it may be.
    pub most: f64,
}

impl Check {
    /// Whether the value is within its limits.
    #[must_use]
    pub fn is_met(&self) -> bool {
        (self.least..=self.most).contains(&self.value)
    }
}
