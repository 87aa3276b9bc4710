//! Tests of the reader and the writer from outside, one module for each concern.

mod classic;
mod samples;
mod support;
mod wireshark;
mod writer;
