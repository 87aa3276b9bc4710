//! The `qpmux-live` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    qpmux_live::cli::main()
}
