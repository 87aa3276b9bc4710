//! When it goes wrong towards a server: timers, sending again, giving up.

mod check;
pub(crate) mod deadlines;
mod repair;
pub(crate) mod rtt;
mod timer;
