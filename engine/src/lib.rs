//! The multiplexing engine.
#![no_std]
extern crate alloc;

pub mod wire;
