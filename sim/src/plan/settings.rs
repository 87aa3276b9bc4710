//! Options of runs as plans have them: by path, each with the place where it was written.

use std::collections::BTreeMap;

use clap::{Command, CommandFactory, FromArgMatches, Parser};
use toml::{Table, Value};

use super::tree::{Kind, Node, Place, plain};
use crate::job::Job;
use crate::options::{ReadCapture, RunOptions};
use crate::text::unknown;

/// Options that take NAME=VALUE: in a plan, NAME is a part of the path.
const BY_NAME: [&str; 8] = [
    "set",
    "set-server",
    "set-middlebox",
    "set-network",
    "set-era",
    "set-host",
    "set-software",
    "set-recovery",
];

/// Options of a run, without the program's name.
#[derive(Parser)]
#[command(no_binary_name = true, args_override_self = true)]
struct Lone {
    #[command(flatten)]
    options: RunOptions,
}

/// Values of one option.
#[derive(Clone, Debug, PartialEq)]
struct Given {
    place: Place,
    values: Vec<Value>,
}

/// Options by path: `threads`, or `set.post_ns`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings(BTreeMap<String, Given>);

/// All that a run can be told.
pub(crate) struct Known {
    command: Command,
    names: Vec<String>,
}

impl Known {
    pub(crate) fn new() -> Self {
        let command = Lone::command();
        let names = command.get_arguments().filter_map(clap::Arg::get_long);
        Self { names: names.map(str::to_owned).collect(), command }
    }

    /// Refuses a path that leads to no option.
    pub(crate) fn check(&self, path: &str, place: &Place) -> anyhow::Result<()> {
        let (name, parameter) = path.split_once('.').unwrap_or((path, ""));
        let by_name = BY_NAME.contains(&name);
        if self.names.iter().any(|known| known == name) && by_name != parameter.is_empty() {
            return Ok(());
        }
        if by_name {
            return Err(place.error(format!("`{name}` needs a parameter, as in `{name}.post_ns`")));
        }
        Err(place.error(unknown("option", path, self.names.iter().map(String::as_str))))
    }

    /// Reads options from a table's keys, but for those that mean something else.
    pub(crate) fn read(&self, table: &Node, others: &[&str]) -> anyhow::Result<Settings> {
        let mut settings = Settings::default();
        for (key, node) in table.table()? {
            if others.contains(&key.as_str()) {
                continue;
            }
            match &node.kind {
                Kind::Table(entries) => {
                    for (name, node) in entries {
                        self.add(&mut settings, &format!("{key}.{name}"), node)?;
                    }
                }
                _ => self.add(&mut settings, key, node)?,
            }
        }
        Ok(settings)
    }

    fn add(&self, settings: &mut Settings, path: &str, node: &Node) -> anyhow::Result<()> {
        self.check(path, &node.place)?;
        let values = node.parts().iter().map(|node| match &node.kind {
            Kind::Scalar(value) => Ok(value.clone()),
            _ => Err(node.error(format!("`{path}` is no value of an option"))),
        });
        let given = Given { place: node.place.clone(), values: values.collect::<Result<_, _>>()? };
        settings.0.insert(path.to_owned(), given);
        Ok(())
    }
}

impl Settings {
    /// One option.
    pub(crate) fn one(path: &str, node: &Node, value: Value) -> Self {
        let given = Given { place: node.place.clone(), values: vec![value] };
        Self(BTreeMap::from([(path.to_owned(), given)]))
    }

    /// Takes all of another's, which come in the place of its own.
    pub(crate) fn extend(&mut self, other: &Settings) {
        self.0.extend(other.0.iter().map(|(path, given)| (path.clone(), given.clone())));
    }

    /// An option's only value.
    pub(crate) fn text_of(&self, path: &str) -> Option<String> {
        match self.0.get(path)?.values.as_slice() {
            [value] => Some(plain(value)),
            _ => None,
        }
    }

    /// As arguments of a command line.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for (path, given) in &self.0 {
            for value in &given.values {
                match (path.split_once('.'), value) {
                    (_, Value::Boolean(false)) => {}
                    (None, Value::Boolean(true)) => arguments.push(format!("--{path}")),
                    (None, value) => arguments.push(format!("--{path}={}", plain(value))),
                    (Some((name, parameter)), value) => {
                        arguments.push(format!("--{name}={parameter}={}", plain(value)));
                    }
                }
            }
        }
        arguments
    }

    /// As a file for `qpmux sim --config`.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        for (path, Given { values, .. }) in &self.0 {
            if values.as_slice() == [Value::Boolean(false)] {
                continue;
            }
            let value = match values.as_slice() {
                [value] => value.clone(),
                values => Value::Array(values.to_vec()),
            };
            match path.split_once('.') {
                None => {
                    table.insert(path.clone(), value);
                }
                Some((name, parameter)) => {
                    let of = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(parameters) = of {
                        parameters.insert(parameter.to_owned(), value);
                    }
                }
            }
        }
        table
    }

    /// The run with these options.
    ///
    /// # Errors
    /// When there is no such run, with the place of the option that is wrong, where it is known.
    pub(crate) fn job(&self, known: &Known, captures: &mut ReadCapture<'_>) -> anyhow::Result<Job> {
        let parsed = known.command.clone().try_get_matches_from(self.arguments());
        let options = parsed.and_then(|matches| Lone::from_arg_matches(&matches));
        let options = options.map_err(|error| self.placed(&error))?.options;
        let job = options.job(captures).map_err(|error| self.named(error))?;
        job.check().map_err(|error| self.named(error.into()))?;
        Ok(job)
    }

    /// A wrong option, with the line where it was written.
    fn placed(&self, error: &clap::Error) -> anyhow::Error {
        let text = error.to_string();
        let what = text.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let what = what.trim_start_matches("error: ").to_owned();
        let mut wrong = self.0.iter().filter(|(path, _)| {
            let name = path.split('.').next().unwrap_or(path);
            what.contains(&format!("--{name} ")) || what.contains(&format!("--{name}'"))
        });
        match wrong.next() {
            Some((_, given)) => given.place.error(what),
            None => anyhow::anyhow!(what),
        }
    }

    /// An error that says which parameter or option is wrong: its place is put in front.
    fn named(&self, error: anyhow::Error) -> anyhow::Error {
        let text = format!("{error:#}");
        let is_named = |path: &str| {
            let name = path.rsplit('.').next().unwrap_or(path);
            text.split(|c: char| !(c.is_alphanumeric() || "_-".contains(c)))
                .any(|word| word.trim_start_matches("--") == name)
        };
        match self.0.iter().find(|(path, _)| is_named(path)) {
            Some((_, given)) => given.place.error(text),
            None => error,
        }
    }
}
