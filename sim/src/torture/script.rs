//! Plans as TOML, one run each: written for people, and read back as the same run.
//!
//! ```toml
//! faults = [
//!     { leg = "server->box", connection = 0, packet = 1, what = "drop" },
//! ]
//!
//! [policy]
//! server_qps = 1
//!
//! [[client]]
//! psn = 0xfffffe
//! operations = [
//!     { write = { key = 1 } },
//!     { compare-swap = {} },
//! ]
//! ```

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::plan::{Client, Plan};
use super::workload::{CELLS, CLIENTS_MAX, Op, Span};

/// Why a script cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// No such file, or no right to read it.
    #[error("cannot read the script {name}: {source}")]
    Read {
        /// The file.
        name: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not TOML, or with fields that scripts do not have.
    #[error("{name}: {source}")]
    Syntax {
        /// The file.
        name: String,
        /// Where and why, from the TOML parser.
        source: Box<toml::de::Error>,
    },
    /// A number that no run can have.
    #[error("{name}, line {line}: {problem}")]
    Range {
        /// The file.
        name: String,
        /// The line, from 1; of a client, where its table begins.
        line: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// A run that can be repeated, read from a file.
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) name: String,
    pub(super) plan: Plan,
}

impl Script {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`ScriptError`].
    pub fn load(path: &Path) -> Result<Script, ScriptError> {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Script::parse(&name, &text),
            Err(source) => Err(ScriptError::Read { name, source }),
        }
    }

    /// Reads a script from its text; `name` is what errors call it.
    ///
    /// # Errors
    /// See [`ScriptError`].
    pub fn parse(name: &str, text: &str) -> Result<Script, ScriptError> {
        let plan: Plan = toml::from_str(text).map_err(|source| ScriptError::Syntax {
            name: name.into(),
            source: Box::new(source),
        })?;
        if let Err((heading, problem)) = check(&plan) {
            let line = line_of(text, heading);
            return Err(ScriptError::Range { name: name.into(), line, problem });
        }
        Ok(Script { name: name.into(), plan })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rule that is known to be broken by this run.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.plan.broken.as_deref()
    }
}

/// A line that begins so, and how many such lines are before it.
type Heading = (&'static str, usize);

fn line_of(text: &str, (start, before): Heading) -> usize {
    let mut lines =
        (1..).zip(text.lines()).filter(|(_, line)| line.trim_start().starts_with(start));
    lines.nth(before).map_or(1, |(number, _)| number)
}

/// What a plan can have that no run can. The parser has seen the types only.
fn check(plan: &Plan) -> Result<(), (Heading, String)> {
    let top = |problem: &str| Err((("", 0), problem.to_owned()));
    if plan.clients.is_empty() || plan.clients.len() > CLIENTS_MAX {
        return top("there must be 1 to 64 [[client]] tables");
    }
    if !(1..=64).contains(&plan.shards) {
        return Err((("shards", 0), "shards must be 1 to 64".into()));
    }
    if plan.learning.is_some_and(|learning| !(1..=1024).contains(&learning.connections_max)) {
        return Err((("connections_max", 0), "connections_max must be 1 to 1024".into()));
    }
    if plan.out_capacity < 16 {
        return Err((("out_capacity", 0), "out_capacity must be 16 or more".into()));
    }
    if plan.faults.iter().any(|fault| fault.connection as usize >= plan.clients.len()) {
        return Err((("faults", 0), "a fault is on a connection that does not exist".into()));
    }
    for (i, client) in plan.clients.iter().enumerate() {
        check_client(client).map_err(|problem| (("[[client]]", i), problem))?;
    }
    Ok(())
}

fn check_client(client: &Client) -> Result<(), String> {
    let range = |name: &str, value: u64, low: u64, high: u64| {
        let fits = (low..=high).contains(&value);
        if fits { Ok(()) } else { Err(format!("{name} is {value}, must be {low} to {high}")) }
    };
    range("psn", client.psn.into(), 0, 0xff_ffff)?;
    range("msn", client.msn.into(), 0, 0xff_ffff)?;
    if ![256, 512, 1024, 2048].contains(&client.pmtu) {
        return Err(format!("pmtu is {}, must be 256, 512, 1024 or 2048", client.pmtu));
    }
    range("outstanding", client.outstanding as u64, 1, 1024)?;
    range("window", client.window.into(), 1, 1 << 22)?;
    range("depth", client.depth as u64, 1, 255)?;
    range("timeout", client.timeout.into(), 1, 31)?;
    range("server depth", client.server.depth as u64, 1, 255)?;
    range("server ack_every", client.server.ack_every.into(), 1, 1024)?;
    range("server rnr_timer", client.server.rnr_timer.into(), 0, 31)?;
    range("server credits", client.server.credits.unwrap_or(0).into(), 0, 31)?;
    for op in &client.operations {
        if let Op::Write { at, .. } | Op::Read { at } = op {
            let Span { cell, cells, .. } = *at;
            let end = cell.saturating_add(cells);
            range("the end of a request's cells", end, 0, CELLS)?;
        }
    }
    Ok(())
}

/// The script of a plan whose faults are listed. What is as it is by default is left out.
pub(super) fn write(plan: &Plan) -> String {
    render(&tree(plan))
}

/// A plan as a tree of TOML, without what is as it is by default.
pub(super) fn tree(plan: &Plan) -> Table {
    let of = |value: Result<Value, _>| match value {
        Ok(Value::Table(table)) => table,
        _ => Table::new(),
    };
    let mut table = of(Value::try_from(plan).map_err(|_: toml::ser::Error| ()));
    let default = of(Value::try_from(Plan::default()).map_err(|_| ()));
    prune(&mut table, &default);
    let client = of(Value::try_from(Client::default()).map_err(|_| ()));
    let server = of(Value::try_from(super::plan::Server::default()).map_err(|_| ()));
    if let Some(Value::Array(clients)) = table.get_mut("client") {
        for each in clients.iter_mut().filter_map(Value::as_table_mut) {
            if let Some(Value::Table(habits)) = each.get_mut("server") {
                prune(habits, &server);
            }
            prune(each, &client);
            let empty = |value: &Value| value.as_table().is_some_and(Table::is_empty);
            each.retain(|_, value| !empty(value));
        }
    }
    table
}

/// Takes out of `table` what is the same in `default`, inside of tables as well.
fn prune(table: &mut Table, default: &Table) {
    table.retain(|key, value| match (&mut *value, default.get(key)) {
        (Value::Table(inner), Some(Value::Table(other))) => {
            prune(inner, other);
            !inner.is_empty()
        }
        (value, Some(other)) => *value != *other,
        (_, None) => true,
    });
}

/// Plain keys first, each in one line; arrays of requests and faults one entry a line.
fn render(table: &Table) -> String {
    let mut text = String::new();
    render_keys(&mut text, table);
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                text.push_str(&format!("\n[{name}]\n"));
                render_keys(&mut text, inner);
            }
            Value::Array(entries) if name == "client" => {
                for entry in entries.iter().filter_map(Value::as_table) {
                    text.push_str("\n[[client]]\n");
                    let (tables, keys): (Table, Table) =
                        entry.clone().into_iter().partition(|(_, v)| v.is_table());
                    let (inline, tables): (Table, Table) =
                        tables.into_iter().partition(|(name, _)| name != "server");
                    render_keys(&mut text, &keys.into_iter().chain(inline).collect());
                    for (name, inner) in tables.iter().filter_map(|(n, v)| Some((n, v.as_table()?)))
                    {
                        text.push_str(&format!("\n[client.{name}]\n"));
                        render_keys(&mut text, inner);
                    }
                }
            }
            _ => {}
        }
    }
    text
}

fn render_keys(text: &mut String, table: &Table) {
    for (key, value) in table {
        match value {
            Value::Array(entries) if key != "client" => {
                let lines: String = entries.iter().map(|entry| format!("    {entry},\n")).collect();
                text.push_str(&format!("{key} = [\n{lines}]\n"));
            }
            Value::Array(_) => {}
            Value::Table(_) if matches!(key.as_str(), "policy" | "engine" | "learning") => {}
            value => text.push_str(&format!("{key} = {value}\n")),
        }
    }
}
