//! Raw bindings to the parts of DPDK (22.11 and newer) that `qpmux-live` uses, as bindgen makes
//! them from the installed headers. DPDK's inline functions come through a shim in C and are called
//! `qpmux_…`; see `shim/shim.h`. Everything safe is in `qpmux-live`.
//!
//! The crate is empty without the feature `bindings`.

#![cfg(feature = "bindings")]
#![allow(missing_docs, unused_qualifications, clippy::all, reason = "made by bindgen")]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, reason = "C's names")]
#![allow(unsafe_op_in_unsafe_fn, dead_code, reason = "made by bindgen")]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
