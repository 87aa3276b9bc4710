//! What [`crate::copying`] needs of a network interface.

use std::io;

/// What came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// No frame waits.
    Nothing,
    /// A frame, at `buffer[start..start + len]`.
    Frame {
        /// Where it starts, at least [`crate::driver::ROOM_BEFORE`].
        start: usize,
        /// Its bytes, without frame check sequence.
        len: usize,
    },
    /// A frame that does not fit, now gone.
    TooLong,
}

/// Why a frame was not sent. It is lost then, as on any network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendFailure {
    /// The interface does not keep up.
    QueueFull,
    /// Longer than the interface's MTU allows.
    TooLong,
    /// The interface is down or gone.
    LinkDown,
    /// Something else.
    Other,
}

impl SendFailure {
    /// The name used in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SendFailure::QueueFull => "queue full",
            SendFailure::TooLong => "longer than the interface's MTU",
            SendFailure::LinkDown => "interface down",
            SendFailure::Other => "refused",
        }
    }
}

/// An interface that frames come in on and go out on. No call waits.
pub trait Port {
    /// Takes the next frame that has come in and writes it into `buffer`, with
    /// [`crate::driver::ROOM_BEFORE`] and [`crate::driver::ROOM_AFTER`] around it.
    ///
    /// # Errors
    /// What the operating system says; the port goes on working when the cause is gone.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received>;

    /// Sends a frame; its bytes are the caller's again on return.
    ///
    /// # Errors
    /// See [`SendFailure`].
    fn send(&mut self, frame: &[u8]) -> Result<(), SendFailure>;

    /// Frames lost so far before the port could take them, because the loop did not keep up.
    fn missed(&mut self) -> u64;
}
