//! The `qpmux` command.

fn main() {}
