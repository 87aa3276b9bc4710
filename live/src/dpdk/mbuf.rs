//! Buffers of DPDK, each with its owner: dropped, it goes back to its pool.

use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use super::{DpdkError, Eal};
use crate::driver::Buffer;

/// Buffers that each core keeps at hand.
pub(super) const CACHE: u32 = 256;

/// A buffer, with the right to write what nobody else reads. A second owner, such as a network
/// card that still sends it, may read it: then it must not be written.
#[derive(Debug)]
pub struct Mbuf<'eal> {
    raw: NonNull<dpdk_sys::rte_mbuf>,
    /// Its pool's memory is there as long as the environment.
    eal: PhantomData<&'eal Eal>,
}

// SAFETY: whoever has a buffer may use it, whichever thread that is; its pool takes it back from
// any thread. Two owners of one buffer stay on one thread: a second one is made by `share` only,
// which the driver gives to a queue of its own worker, and what a queue has taken its driver looks
// after. Only frames that have just come in, which have one owner, go to other workers.
unsafe impl Send for Mbuf<'_> {}

impl<'eal> Mbuf<'eal> {
    /// The owner of the frame's buffer.
    ///
    /// # Safety
    /// The frame comes from DPDK and its reference, one, is given to the caller alone.
    pub(super) unsafe fn of(frame: &dpdk_sys::qpmux_frame) -> Option<Mbuf<'eal>> {
        Some(Mbuf { raw: NonNull::new(frame.mbuf)?, eal: PhantomData })
    }

    /// One more owner of the same buffer. Neither may write until the other is gone.
    pub(super) fn share(&mut self) -> Mbuf<'eal> {
        // SAFETY: the buffer is alive, and its count of owners is meant for this.
        unsafe { dpdk_sys::qpmux_add_owners(self.raw.as_ptr(), 1) };
        Mbuf { raw: self.raw, eal: PhantomData }
    }

    /// Whether nobody else has it.
    pub(super) fn is_exclusive(&self) -> bool {
        // SAFETY: the buffer is alive.
        unsafe { dpdk_sys::qpmux_owners(self.raw.as_ptr()) == 1 }
    }

    /// Its memory: the first byte, and how many there are.
    fn memory(&self) -> (*mut u8, usize) {
        // SAFETY: the buffer is alive, and nobody changes where its memory is.
        unsafe {
            let raw = self.raw.as_ptr();
            ((*raw).buf_addr.cast(), usize::from((*raw).buf_len))
        }
    }

    /// DPDK's name for it.
    pub(super) fn as_raw(&self) -> *mut dpdk_sys::rte_mbuf {
        self.raw.as_ptr()
    }
}

impl Drop for Mbuf<'_> {
    fn drop(&mut self) {
        // SAFETY: this owner's reference, given back once.
        unsafe { dpdk_sys::qpmux_free(self.raw.as_ptr()) };
    }
}

impl Buffer for Mbuf<'_> {
    fn bytes(&self) -> &[u8] {
        let (first, len) = self.memory();
        // SAFETY: `len` bytes that live as long as the buffer has an owner. Other owners only read.
        unsafe { slice::from_raw_parts(first, len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        debug_assert!(self.is_exclusive(), "a buffer that somebody else reads is to be written");
        let (first, len) = self.memory();
        // SAFETY: as above; and no other owner is in this process: received buffers have one, and
        // `share` is followed by `make_exclusive` before anything is written (crate::driver).
        unsafe { slice::from_raw_parts_mut(first, len) }
    }
}

/// Buffers for frames of up to a certain length. They stay until the environment ends: who has
/// one need not care for the pool.
#[derive(Clone, Debug)]
pub struct Pool<'eal> {
    raw: NonNull<dpdk_sys::rte_mempool>,
    eal: PhantomData<&'eal Eal>,
}

// SAFETY: a pool's buffers are taken and given back by any number of threads at a time
// (rte_mempool.h: a pool without flags is for several producers and consumers).
unsafe impl Send for Pool<'_> {}
// SAFETY: as above.
unsafe impl Sync for Pool<'_> {}

impl<'eal> Pool<'eal> {
    /// A pool of `count` buffers for frames of up to `frame_len_max` bytes with `room_after` behind
    /// them, on the memory of NUMA node `socket` (negative: any).
    ///
    /// # Errors
    /// Above all when there is not that much memory.
    pub fn new(
        _: &'eal Eal,
        name: &str,
        count: u32,
        frame_len_max: usize,
        room_after: usize,
        socket: i32,
    ) -> Result<Pool<'eal>, DpdkError> {
        let call = "rte_pktmbuf_pool_create";
        let room = dpdk_sys::RTE_PKTMBUF_HEADROOM as usize + frame_len_max + room_after;
        let what = format!("no memory for {count} buffers of {room} bytes");
        let (Ok(room), Ok(c_name)) = (u16::try_from(room), CString::new(name)) else {
            return Err(DpdkError::ours(what, call, "limits.frame_len_max is too large"));
        };
        // SAFETY: the name is a text; DPDK copies it.
        let raw = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(c_name.as_ptr(), count, CACHE, 0, room, socket)
        };
        match NonNull::new(raw) {
            Some(raw) => Ok(Pool { raw, eal: PhantomData }),
            None => Err(DpdkError::last(what, call)),
        }
    }

    /// A free buffer, and where a frame in it may start.
    pub(super) fn alloc(&self) -> Option<(Mbuf<'eal>, usize)> {
        // SAFETY: the pool is alive; the reference is ours.
        unsafe {
            let frame = dpdk_sys::qpmux_alloc(self.raw.as_ptr());
            Some((Mbuf::of(&frame)?, usize::from(frame.start)))
        }
    }

    /// The bytes of a frame, however many buffers they are spread over, in one of the pool's.
    pub(super) fn copy(&self, from: &Mbuf<'eal>) -> Option<(Mbuf<'eal>, usize, usize)> {
        // SAFETY: pool and frame are alive; the copy's reference is ours.
        unsafe {
            let frame = dpdk_sys::qpmux_copy(self.raw.as_ptr(), from.as_raw());
            Some((Mbuf::of(&frame)?, usize::from(frame.start), frame.len as usize))
        }
    }

    pub(super) fn as_raw(&self) -> *mut dpdk_sys::rte_mempool {
        self.raw.as_ptr()
    }
}
