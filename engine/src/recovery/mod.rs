//! When it goes wrong towards a server: timers, sending again, giving up.

mod check;
mod repair;
pub(crate) mod rtt;
mod timer;
