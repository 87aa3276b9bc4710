//! `--config FILE.toml`: the options of a command, written in a file; `--print-config` writes one.
//!
//! A key is an option's name without dashes in front. What stands on the command line comes after
//! the file's options, and so overrides them.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::{Table, Value};

/// Options that are about files of options.
const ABOUT_FILES: [&str; 2] = ["config", "print-config"];

/// Replaces `--config FILE` of a subcommand by the options in the file, in front of all others.
///
/// # Errors
/// When the file cannot be read, or says what the subcommand does not understand; with the line.
pub(crate) fn expand(
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
        if !known.contains(&key.as_str()) || ABOUT_FILES.contains(&key.as_str()) {
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
        // Of an option that takes NAME=VALUE, names may be keys.
        Value::Table(values) => {
            return values.iter().try_for_each(|(name, value)| match value {
                Value::Integer(_) | Value::Float(_) => {
                    options.push(format!("--{key}={name}={value}"));
                    Some(())
                }
                _ => None,
            });
        }
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Datetime(_) => return None,
    };
    options.push(format!("--{key}={text}"));
    Some(())
}

/// An option's name, and its values.
pub(crate) type Given = (String, Vec<String>);

/// A file with all options of a command: those that were given, those that have a value by default,
/// and in the place of either those that are `resolved`.
pub(crate) fn render(command: &Command, matches: &ArgMatches, resolved: &[Given]) -> String {
    let all = command.get_arguments().filter_map(|arg| {
        let long = arg.get_long().filter(|long| !ABOUT_FILES.contains(long))?;
        let source = matches.value_source(arg.get_id().as_str())?;
        let raw = matches.get_raw(arg.get_id().as_str())?;
        let values = raw.map(|value| value.to_string_lossy().into_owned()).collect();
        let given: Given = (long.to_owned(), values);
        (!resolved.iter().any(|(name, _)| name == long)).then_some((given, source))
    });
    let (by_default, given): (Vec<_>, Vec<_>) =
        all.partition(|(_, source)| *source == ValueSource::DefaultValue);
    let mut given: Vec<Given> = given.into_iter().map(|(given, _)| given).collect();
    given.extend_from_slice(resolved);
    // Of defaults some make no sense, or are not allowed, beside what was given.
    let lasts = by_default.into_iter().filter(|(option, _)| {
        let mut args = vec!["sim".to_owned()];
        for (name, values) in given.iter().chain([option]) {
            // No option can be refused that says what it would be without.
            let _ = add(&mut args, name, &value(values));
        }
        command.clone().try_get_matches_from(args).is_ok()
    });
    let lasts: Vec<Given> = lasts.map(|(option, _)| option).collect();
    given.extend(lasts);
    given.sort();
    given
        .iter()
        .fold(String::new(), |text, (name, values)| text + &format!("{name} = {}\n", value(values)))
}

/// An option's values as they are written in a file.
fn value(values: &[String]) -> Value {
    let one = |text: &String| {
        let parsed = toml::from_str::<Table>(&format!("x = {text}")).ok();
        let plain = parsed.and_then(|mut table| table.remove("x")).filter(|plain| {
            // What would be read as something else is a string.
            let same = |printed: String| printed == *text;
            match plain {
                Value::Boolean(_) => true,
                Value::Integer(number) => same(number.to_string()),
                Value::Float(number) => same(number.to_string()),
                _ => false,
            }
        });
        plain.unwrap_or_else(|| Value::String(text.clone()))
    };
    match values {
        [text] => one(text),
        _ => Value::Array(values.iter().map(one).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::expand;
    use crate::cli::{Cli, Command};
    use clap::{CommandFactory, FromArgMatches};

    fn expanded(text: &str, more: &[&str]) -> anyhow::Result<Vec<String>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("run.toml");
        std::fs::write(&path, text)?;
        let path = path.to_string_lossy().into_owned();
        let args = ["qpmux", "sim", "--config", &path].into_iter().chain(more.iter().copied());
        let cli = Cli::command();
        let command = cli.find_subcommand("sim").unwrap();
        let args = expand(args.map(Into::into).collect(), "sim", command)?;
        Cli::command().try_get_matches_from(&args)?;
        Ok(args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn a_file_stands_before_the_command_line() {
        let text = "workload = \"cas\"\nthreads = 24\nzipf = 0.99\nlist = true\njson = false\n\
                    set = [\"post_ns=30\", \"poll_ns=10\"]\n";
        let list = "set = [\"post_ns=30\", \"poll_ns=10\"]";
        let as_table = text.replace(list, "[set]\npost_ns = 30\npoll_ns = 10");
        assert_ne!(as_table, text);
        assert_eq!(expanded(text, &[]).unwrap(), expanded(&as_table, &[]).unwrap());
        let args = expanded(text, &["--threads", "8"]).unwrap();
        let expected = [
            "qpmux",
            "sim",
            "--workload=cas",
            "--threads=24",
            "--zipf=0.99",
            "--list",
            "--set=post_ns=30",
            "--set=poll_ns=10",
            "--threads",
            "8",
        ];
        assert_eq!(args, expected);
    }

    /// What `--print-config` says of options.
    fn printed(args: &[String]) -> String {
        let matches = Cli::command().try_get_matches_from(args).unwrap();
        let Command::Sim(sim) = Cli::from_arg_matches(&matches).unwrap().command else { panic!() };
        sim.printed(matches.subcommand_matches("sim").unwrap()).unwrap()
    }

    #[test]
    fn what_is_printed_says_the_same_when_it_is_read() {
        for line in [
            "",
            "--app lock --guarded --switch 5:steer=all --switch 9:steer=none --map all --uniform",
            "--workload read --json",
            "--workload cas --nic connectx-3 --server-nic connectx-6 --set post_ns=33.25",
            "--workload write --arrivals 1e5 --set-server inbound_ns=7 --zipf 0.5",
            "--workload lock --middlebox prototype --set-middlebox send_ns=5 --qp-sharing x3",
            "--workload receive --stack bypass --set-host app_ns=5 --remote-node",
            "--workload recovery --keep group --set-recovery sync_ns=5 --beside",
            "--trace a.pcap --think 0 --set-network queue_bytes=70000 --pages 1G",
        ] {
            let args = ["qpmux", "sim"].into_iter().chain(line.split_whitespace());
            let first = printed(&args.map(str::to_owned).collect::<Vec<_>>());
            let second = printed(&expanded(&first, &[]).unwrap());
            assert_eq!(first, second, "{line}");
        }
    }

    #[test]
    fn presets_and_what_replaces_their_values_are_printed() {
        let line = "qpmux sim --workload cas --nic connectx-3 --server-nic connectx-6 \
                    --set post_ns=33.25 --set-server poll_ns=8 --middlebox prototype \
                    --set-middlebox send_ns=5 --set-network least_gbps=2";
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let table: toml::Table = toml::from_str(&printed(&args)).unwrap();
        let has = |key: &str, setting: &str| {
            table[key].as_array().unwrap().iter().any(|value| value.as_str() == Some(setting))
        };
        let presets = ["connectx-3", "connectx-6"].map(crate::nic::Preset::load);
        let [client, server] = presets.map(|preset| preset.unwrap().params);
        assert_ne!(client.message_ns, server.message_ns);
        for (key, setting) in [
            ("set", "post_ns=33.25".to_owned()),
            ("set", format!("message_ns={}", client.message_ns)),
            ("set", format!("poll_ns={}", client.poll_ns)),
            ("set-server", "post_ns=33.25".to_owned()),
            ("set-server", format!("message_ns={}", server.message_ns)),
            ("set-server", "poll_ns=8".to_owned()),
            ("set-middlebox", "send_ns=5".to_owned()),
            ("set-network", "least_gbps=2".to_owned()),
        ] {
            assert!(has(key, &setting), "{key}: {setting}");
        }
        let boxed = table["set-middlebox"].as_array().unwrap().len();
        assert_eq!(boxed, crate::cluster::BoxParams::SPECS.len());
        assert_eq!(table["threads"].as_integer(), Some(8), "also what nobody has given");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let error = |text| format!("{:#}", expanded(text, &[]).unwrap_err());
        let unknown = error("threads = 8\noutstandig = 4\n");
        assert!(unknown.contains("run.toml:2") && unknown.contains("`outstanding`"), "{unknown}");
        assert!(error("[set]\na = \"x\"\n").contains("is no option's value"));
        assert!(error("threads = \n").contains("run.toml"));
    }
}
