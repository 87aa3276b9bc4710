//! DPDK's environment: started once, ended with the process.

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

use super::DpdkError;

/// DPDK's environment cannot be started twice in a process, not even after it was ended.
static STARTED: AtomicBool = AtomicBool::new(false);

/// The running environment. Ports and pools must be gone before it is.
#[derive(Debug)]
pub struct Eal {
    /// What DPDK was started with: it keeps pointers into it.
    _arguments: Vec<CString>,
}

/// Where received frames say when they came in.
pub(super) type Timestamps = dpdk_sys::qpmux_timestamps;

impl Eal {
    /// Starts the environment with EAL's arguments, without the program's name.
    ///
    /// # Errors
    /// What DPDK refuses; its own words are in the log.
    pub fn start(arguments: &[String]) -> Result<Eal, DpdkError> {
        let what = "cannot start DPDK";
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(DpdkError::ours(what, "rte_eal_init", "it was started before"));
        }
        let words = std::iter::once("qpmux-live").chain(arguments.iter().map(String::as_str));
        let words: Result<Vec<CString>, _> = words.map(CString::new).collect();
        let words = words
            .map_err(|_| DpdkError::ours(what, "rte_eal_init", "an argument has a zero byte"))?;
        let mut pointers: Vec<*mut c_char> =
            words.iter().map(|word| word.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(pointers.len())
            .map_err(|_| DpdkError::ours(what, "rte_eal_init", "too many arguments"))?;
        // SAFETY: `count` pointers to texts that end with a zero byte and live as long as the
        // environment. It may change the order of the pointers, which are a copy.
        let result = unsafe { dpdk_sys::rte_eal_init(count, pointers.as_mut_ptr()) };
        if result < 0 {
            return Err(DpdkError::last(what, "rte_eal_init"));
        }
        Ok(Eal { _arguments: words })
    }

    /// Which release of DPDK this is.
    #[must_use]
    pub fn version() -> String {
        // SAFETY: returns a text that lasts for ever.
        unsafe { CStr::from_ptr(dpdk_sys::rte_version()) }.to_string_lossy().into_owned()
    }

    /// Makes the calling thread one that DPDK knows, so that it keeps buffers at hand. One that it
    /// does not know works, more slowly.
    pub fn enter_thread(&self) -> EnteredThread<'_> {
        // SAFETY: the environment runs.
        let entered = unsafe { dpdk_sys::rte_thread_register() } == 0;
        if !entered {
            let why = DpdkError::last("a thread", "rte_thread_register");
            warn!("a worker is slower than it could be: {why}");
        }
        EnteredThread { entered, bound: PhantomData }
    }

    /// Where received frames say when they came in. Not every driver tells.
    ///
    /// # Errors
    /// When there is no room for it in frames.
    pub(super) fn timestamps(&self) -> Result<Timestamps, DpdkError> {
        let mut found = Timestamps { offset: 0, flag: 0 };
        // SAFETY: both pointers are to places of ours, written before the call returns.
        let result = unsafe {
            dpdk_sys::rte_mbuf_dyn_rx_timestamp_register(&mut found.offset, &mut found.flag)
        };
        let what = "no room for receive times in frames";
        if result < 0 {
            return Err(DpdkError::last(what, "rte_mbuf_dyn_rx_timestamp_register"));
        }
        Ok(found)
    }
}

/// The calling thread is one that DPDK knows, as long as this lives.
#[derive(Debug)]
pub struct EnteredThread<'eal> {
    entered: bool,
    /// It is for this thread, and no other may drop it.
    bound: PhantomData<(&'eal Eal, *const ())>,
}

impl Drop for EnteredThread<'_> {
    fn drop(&mut self) {
        if self.entered {
            // SAFETY: this thread was registered, once.
            unsafe { dpdk_sys::rte_thread_unregister() };
        }
    }
}

impl Drop for Eal {
    fn drop(&mut self) {
        // SAFETY: it was started, once, and ports and pools, which borrow it, are gone.
        unsafe { dpdk_sys::rte_eal_cleanup() };
    }
}
