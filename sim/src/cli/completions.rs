//! `qpmux completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::print_bytes;
use super::{Cli, Outcome};

/// Print a script with which a shell completes the command line of qpmux.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  qpmux completions bash\n\n\
    Redirect it to where the shell looks for such scripts:\n\n    \
    bash        ~/.local/share/bash-completion/completions/qpmux\n    \
    zsh         _qpmux in a folder that $fpath names\n    \
    fish        ~/.config/fish/completions/qpmux.fish\n    \
    elvish      a module that rc.elv uses\n    \
    powershell  a script that $PROFILE runs")]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "qpmux", &mut script);
    print_bytes(&script)?;
    Ok(Outcome::Good)
}
