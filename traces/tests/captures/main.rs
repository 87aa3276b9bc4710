//! Tests of the reader and the writer from outside, one module for each concern.

mod arbitrary;
mod blocks;
mod classic;
mod compressed;
mod held;
mod pcapng;
mod samples;
mod support;
mod wireshark;
mod writer;
