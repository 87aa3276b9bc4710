//! `qpmux man`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::output::print_bytes;
use super::{Cli, Outcome};
use crate::files::{make_results_dir, write_whole};

/// Print a manual page, or write those of all commands.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  qpmux man replay\n  qpmux man --out man1\n\n\
    `man -l FILE` shows such a page.")]
pub(crate) struct Args {
    /// The command whose page is printed; without one, that of qpmux itself.
    #[arg(default_value = "qpmux", value_name = "NAME", conflicts_with = "out")]
    name: String,
    /// Folder to write all pages to: qpmux.1, and one for each command, such as qpmux-replay.1.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut qpmux = Cli::command().disable_help_subcommand(true);
    qpmux.build();
    let man = |command: &Command| {
        Man::new(command.clone()).source(concat!("qpmux ", env!("CARGO_PKG_VERSION")))
    };
    let Some(dir) = &args.out else {
        let command = match args.name.as_str() {
            "qpmux" => &qpmux,
            name => qpmux
                .find_subcommand(name)
                .with_context(|| format!("there is no command {name}; qpmux --help has them"))?,
        };
        print_bytes(&page(&man(command), command)?)?;
        return Ok(Outcome::Good);
    };
    make_results_dir(dir)?;
    for command in std::iter::once(&qpmux).chain(qpmux.get_subcommands()) {
        let man = man(command);
        write_whole(&dir.join(man.get_filename()), &page(&man, command)?)?;
    }
    Ok(Outcome::Good)
}

/// The page of a command, as roff.
fn page(man: &Man, command: &Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    page.extend(notes(command).to_roff().bytes());
    Ok(page)
}

/// What the help says at its end. It has examples, so lines stay as they are.
fn notes(command: &Command) -> Roff {
    let mut roff = Roff::new();
    if let Some(text) = command.get_after_help() {
        roff.control("SH", ["NOTES"]).control("nf", []);
        for line in text.to_string().lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff
}
