//! `--config FILE.toml`: the options of a command, written in a file.
//!
//! A key is an option's name without dashes in front. What stands on the command line comes after
//! the file's options, and so overrides them.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context;
use clap::Command;
use toml::{Table, Value};

/// Replaces `--config FILE` of a subcommand by the options in the file, in front of all others.
///
/// # Errors
/// When the file cannot be read, or says what the subcommand does not understand; with the line.
pub(super) fn expand(
    mut args: Vec<OsString>,
    name: &str,
    command: &Command,
) -> anyhow::Result<Vec<OsString>> {
    if args.get(1).is_none_or(|first| first != name) {
        return Ok(args);
    }
    let Some(at) = args.iter().position(|arg| arg == "--config") else { return Ok(args) };
    if at + 1 >= args.len() {
        anyhow::bail!("--config: which file?");
    }
    let path = args.remove(at + 1);
    args.remove(at);
    let options = options(Path::new(&path), command)?;
    args.splice(2..2, options.into_iter().map(OsString::from));
    Ok(args)
}

fn options(path: &Path, command: &Command) -> anyhow::Result<Vec<String>> {
    let file = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
    let table: Table = toml::from_str(&text).with_context(|| format!("{file}"))?;
    let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let mut options = Vec::new();
    for (key, value) in &table {
        let line =
            1 + text.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or(0);
        if !known.contains(&key.as_str()) || key == "config" {
            let nearest = known.iter().min_by_key(|name| crate::text::distance(name, key));
            anyhow::bail!(
                "{file}:{line}: no option `{key}`; the nearest is `{}`",
                nearest.unwrap_or(&"")
            );
        }
        add(&mut options, key, value)
            .with_context(|| format!("{file}:{line}: `{key}` is no option's value"))?;
    }
    Ok(options)
}

fn add(options: &mut Vec<String>, key: &str, value: &Value) -> Option<()> {
    let text = match value {
        Value::Boolean(false) => return Some(()),
        Value::Boolean(true) => {
            options.push(format!("--{key}"));
            return Some(());
        }
        Value::Array(values) => {
            return values.iter().try_for_each(|value| add(options, key, value));
        }
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Table(_) | Value::Datetime(_) => return None,
    };
    options.push(format!("--{key}={text}"));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::expand;
    use clap::CommandFactory;

    fn expanded(text: &str, more: &[&str]) -> anyhow::Result<Vec<String>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("run.toml");
        std::fs::write(&path, text)?;
        let path = path.to_string_lossy().into_owned();
        let args = ["qpmux", "sim", "--config", &path].into_iter().chain(more.iter().copied());
        let cli = crate::cli::Cli::command();
        let command = cli.find_subcommand("sim").unwrap();
        let args = expand(args.map(Into::into).collect(), "sim", command)?;
        crate::cli::Cli::command().try_get_matches_from(&args)?;
        Ok(args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn a_file_stands_before_the_command_line() {
        let text = "workload = \"cas\"\nthreads = 24\nzipf = 0.99\nlist = true\njson = false\n\
                    set = [\"post_ns=30\", \"poll_ns=10\"]\n";
        let args = expanded(text, &["--threads", "8"]).unwrap();
        let expected = [
            "qpmux",
            "sim",
            "--list",
            "--set=post_ns=30",
            "--set=poll_ns=10",
            "--threads=24",
            "--workload=cas",
            "--zipf=0.99",
            "--threads",
            "8",
        ];
        assert_eq!(args, expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let error = |text| format!("{:#}", expanded(text, &[]).unwrap_err());
        let unknown = error("threads = 8\noutstandig = 4\n");
        assert!(unknown.contains("run.toml:2") && unknown.contains("`outstanding`"), "{unknown}");
        assert!(error("[threads]\na = 1\n").contains("is no option's value"));
        assert!(error("threads = \n").contains("run.toml"));
    }
}
