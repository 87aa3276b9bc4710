//! Workloads and application profiles.
