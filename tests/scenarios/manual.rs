//! Manual pages and completions, as far as the tools that read them can judge.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use qpmux_tests::root;
use tempfile::TempDir;

use crate::documents::commands;
use crate::support::{run_in, tree};

#[test]
fn bash_reads_its_completions() {
    let script = run_in(&root(), ["completions", "bash"]).assert_good().stdout;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn each_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run_in(&root(), ["completions", shell]).assert_good().stdout;
        for name in commands() {
            assert!(script.contains(&name), "{shell} does not complete {name}");
        }
    }
}

/// What groff has to say against a page; `None` where it is not installed.
fn complaints(page: &Path) -> Option<String> {
    let groff = Command::new("groff").args(["-man", "-ww", "-z", "-Tutf8"]).arg(page).output();
    groff.ok().map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn each_command_has_a_page() {
    let folder = TempDir::new().unwrap();
    run_in(folder.path(), ["man", "--out", "man1"]).assert_good();
    let pages: BTreeSet<_> = tree(&folder.path().join("man1")).into_iter().collect();
    let name = |name: &str| folder.path().join("man1").join(format!("{name}.1"));
    let wanted = commands().into_iter().map(|command| name(&format!("qpmux-{command}")));
    assert_eq!(pages, wanted.chain([name("qpmux")]).collect());
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains("\n.SH NAME\n") && text.contains("\n.SH NOTES\n"), "{text}");
        let complaints = complaints(&page).unwrap_or_default();
        assert_eq!(complaints, "", "{}", page.display());
    }
}

#[test]
fn a_printed_page_is_the_one_that_is_written() {
    let folder = TempDir::new().unwrap();
    run_in(folder.path(), ["man", "--out", "."]).assert_good();
    for (name, file) in [("qpmux", "qpmux.1"), ("replay", "qpmux-replay.1")] {
        let printed = run_in(folder.path(), ["man", name]).assert_good().stdout;
        assert_eq!(printed, fs::read_to_string(folder.path().join(file)).unwrap());
    }
    run_in(folder.path(), ["man", "reply"]).assert_refused(&["no command reply"]);
}
