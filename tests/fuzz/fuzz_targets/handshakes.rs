//! `cargo +nightly fuzz run handshakes`, in `tests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qpmux_tests::fuzz::handshakes(data));
