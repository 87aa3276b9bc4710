//! A receive and a transmit queue of a port, for one thread.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use arrayvec::ArrayVec;
use qpmux_engine::BURST_MAX;

use super::Mbuf;
use super::eal::Timestamps;
use crate::driver::Held;

/// A frame as a port hands it over.
pub(super) struct Raw<'p> {
    pub(super) held: Held<Mbuf<'p>>,
    /// When it came in, in the driver's own unit, if it tells.
    pub(super) timestamp: Option<u64>,
    /// Whether the buffer has all of the frame, and no other owner.
    pub(super) whole: bool,
}

/// A queue each way. There is no other handle for the same ones: a queue is not for two threads
/// at a time.
#[derive(Debug)]
pub struct Queue<'p> {
    port: u16,
    number: u16,
    address: [u8; 6],
    /// The port runs as long as this lives.
    borrowed: PhantomData<&'p mut ()>,
}

impl<'p> Queue<'p> {
    /// The queues of that number.
    pub(super) fn new(port: u16, number: u16, address: [u8; 6]) -> Queue<'p> {
        Queue { port, number, address, borrowed: PhantomData }
    }

    /// Its port's Ethernet address.
    #[must_use]
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Takes frames in, at most `most`.
    pub(super) fn receive(
        &mut self,
        timestamps: Timestamps,
        most: usize,
        mut take: impl FnMut(Raw<'p>),
    ) {
        let mut views = [const { MaybeUninit::<dpdk_sys::qpmux_frame>::uninit() }; BURST_MAX];
        let most = most.min(BURST_MAX) as u16;
        // SAFETY: room for `most` views, of which as many are written as the call says; nobody else
        // has this queue.
        let many = unsafe {
            let first = views.as_mut_ptr().cast();
            dpdk_sys::qpmux_rx_burst(self.port, self.number, timestamps, first, most)
        };
        for view in views.iter().take(usize::from(many)) {
            // SAFETY: it was written, and its reference is given to us.
            let (view, mbuf) = unsafe {
                let view = view.assume_init_ref();
                (view, Mbuf::of(view))
            };
            if let Some(buffer) = mbuf {
                let held = Held::new(buffer, view.start.into(), view.len as usize);
                let timestamp = (view.timed != 0).then_some(view.timestamp);
                take(Raw { held, timestamp, whole: view.whole != 0 });
            }
        }
    }

    /// Sends frames from the front of the list, as many as the port takes, and takes them out of
    /// it. How many.
    pub(super) fn send<const N: usize>(
        &mut self,
        frames: &mut ArrayVec<Held<Mbuf<'p>>, N>,
    ) -> usize {
        let mut sent = 0;
        while sent < frames.len() {
            let views: ArrayVec<_, BURST_MAX> =
                frames.iter().skip(sent).take(BURST_MAX).map(view).collect();
            let many = views.len();
            // SAFETY: whole frames of ours; what is taken has its reference taken over; nobody else
            // has this queue.
            let taken = unsafe {
                dpdk_sys::qpmux_tx_burst(self.port, self.number, views.as_ptr(), many as u16)
            };
            sent += usize::from(taken);
            if usize::from(taken) < many {
                break;
            }
        }
        // Their references are the port's now.
        frames.drain(..sent).for_each(|held| core::mem::forget(held.buffer));
        sent
    }

    /// Frames that the port, with all its queues, lost since it was opened, because nobody took
    /// them in time or for lack of buffers.
    #[must_use]
    pub fn missed(&self) -> u64 {
        let mut stats = MaybeUninit::<dpdk_sys::rte_eth_stats>::zeroed();
        // SAFETY: what is not written stays zero.
        let stats = unsafe {
            dpdk_sys::rte_eth_stats_get(self.port, stats.as_mut_ptr());
            stats.assume_init()
        };
        stats.imissed + stats.rx_nombuf
    }
}

/// The frame as the shim wants it.
fn view(held: &Held<Mbuf<'_>>) -> dpdk_sys::qpmux_outgoing {
    let (start, len) = held.span();
    let (mbuf, len, start) = (held.buffer.as_raw(), len as u32, start as u16);
    dpdk_sys::qpmux_outgoing { mbuf, len, start }
}
