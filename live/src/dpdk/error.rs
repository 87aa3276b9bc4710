//! What DPDK says when something does not work.

use std::ffi::CStr;

/// A call of DPDK's that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why} ({call}, error {code})")]
pub struct DpdkError {
    /// What was to be done.
    pub what: String,
    /// The function.
    pub call: &'static str,
    /// Its error number, positive.
    pub code: i32,
    why: String,
}

impl DpdkError {
    /// The error of a call that returned `-code` or set `rte_errno` to `code`.
    pub(super) fn new(what: impl Into<String>, call: &'static str, code: i32) -> DpdkError {
        // SAFETY: rte_strerror takes any number, and returns a text that lasts as long as this
        // thread or until it is called again.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(code.abs())) };
        let why = text.to_string_lossy().into_owned();
        DpdkError { what: what.into(), call, code: code.abs(), why }
    }

    /// The error of the last call that reports by `rte_errno`.
    pub(super) fn last(what: impl Into<String>, call: &'static str) -> DpdkError {
        // SAFETY: reads a number of this thread's.
        DpdkError::new(what, call, unsafe { dpdk_sys::qpmux_errno() })
    }

    /// An error of ours, for which DPDK has no number.
    pub(super) fn ours(what: impl Into<String>, call: &'static str, why: &str) -> DpdkError {
        DpdkError { what: what.into(), call, code: 0, why: why.to_owned() }
    }

    /// `Ok` unless a call returned a negative number.
    pub(super) fn check(
        result: i32,
        what: impl FnOnce() -> String,
        call: &'static str,
    ) -> Result<i32, DpdkError> {
        if result < 0 { Err(DpdkError::new(what(), call, result)) } else { Ok(result) }
    }
}
