//! Time as the engine sees it: an argument, never a clock.

use core::fmt;

/// A point in time in nanoseconds since an origin the host chooses.
///
/// The host may choose any origin, but time handed to one engine never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// A time that is never reached: "no deadline".
    pub const NEVER: Nanos = Nanos(u64::MAX);

    /// This time plus `delay_ns` nanoseconds, saturating at [`Nanos::NEVER`].
    #[must_use]
    pub const fn after(self, delay_ns: u64) -> Nanos {
        Nanos(self.0.saturating_add(delay_ns))
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}
