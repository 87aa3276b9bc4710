//! The `qpmux` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    qpmux_sim::cli::main()
}
