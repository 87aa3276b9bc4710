//! The published experiments, predicted.

mod checks;
mod era;
mod exclusions;
mod fit;
mod gallery;
mod plans;
mod published;
#[cfg(test)]
mod tests;

pub use checks::{Check, checks};
pub use era::{Era, EraError, EraParams};
pub use exclusions::exclusion;
pub use fit::{Fitted, fit};
pub use gallery::gallery;
pub use plans::{figures_of, names, plans, text};
pub use published::Published;
