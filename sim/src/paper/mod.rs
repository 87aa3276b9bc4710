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

pub use checks::checks;
pub use era::{Era, EraError, EraParams};
pub use exclusions::exclusion;
pub use fit::{Fitted, fit};
pub use gallery::gallery;
pub use plans::{PLANS, names, plans};
pub use published::Published;
