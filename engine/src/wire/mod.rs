//! RoCEv2 headers.
