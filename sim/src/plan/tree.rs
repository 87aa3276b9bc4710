//! A TOML file as a tree whose every part knows where it was written, so that what is wrong can be
//! told with its line.

use std::fmt;
use std::rc::Rc;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use crate::text::unknown;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    file: Rc<str>,
    line: usize,
}

/// A part of a plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Where it was written.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a part of a plan is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Keys with parts, as they stand in the file.
    Table(Vec<(String, Node)>),
    /// A list.
    List(Vec<Node>),
    /// A string, number or boolean.
    Scalar(Value),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}", self.file),
            line => write!(formatter, "{}:{line}", self.file),
        }
    }
}

impl Place {
    /// An error here.
    pub(crate) fn error(&self, what: impl fmt::Display) -> anyhow::Error {
        anyhow::anyhow!("{self}: {what}")
    }
}

impl Node {
    /// Reads a file's text.
    ///
    /// # Errors
    /// When it is no TOML, with the line.
    pub(crate) fn parse(file: &str, text: &str) -> anyhow::Result<Self> {
        let file: Rc<str> = file.into();
        let lines = Lines { file: &file, text };
        let table = DeTable::parse(text).map_err(|error| {
            let place = lines.place(error.span().map_or(0, |span| span.start));
            place.error(error.message())
        })?;
        lines.table(&table)
    }

    /// Gives a key, by its path with dots, another value: `PATH=VALUE`, the value as in TOML; text
    /// that is no value of TOML is a string.
    ///
    /// # Errors
    /// When the path leads through something that has no keys.
    pub(crate) fn set(&mut self, setting: &str) -> anyhow::Result<()> {
        let Some((path, value)) = setting.split_once('=') else {
            anyhow::bail!("--with {setting}: write PATH=VALUE, as in --with base.threads=16");
        };
        let flag = format!("--with {setting}");
        let keys = keys(Node::parse(&flag, &format!("{path} = 0"))?);
        let quoted = || Node::parse(&flag, &format!("x = {}", Value::String(value.to_owned())));
        let parsed = Node::parse(&flag, &format!("x = {value}")).or_else(|_| quoted())?;
        let mut entries = parsed.into_table()?;
        let (_, mut node) = entries.pop().ok_or_else(|| anyhow::anyhow!("{flag}: no value"))?;
        node.place.line = 0;
        let mut at = self;
        for key in keys {
            let place = node.place.clone();
            let Kind::Table(entries) = &mut at.kind else {
                return Err(place.error(format!("`{key}` would be a key of what has no keys")));
            };
            let known = entries.iter().position(|(known, _)| *known == key);
            let index = known.unwrap_or_else(|| {
                entries.push((key, Node { place, kind: Kind::Table(Vec::new()) }));
                entries.len() - 1
            });
            at = &mut entries[index].1;
        }
        *at = node;
        Ok(())
    }

    /// As TOML, without comments, keys in their order.
    ///
    /// # Errors
    /// When this is no table.
    pub(crate) fn render(&self) -> anyhow::Result<String> {
        let (mut plain, mut sections) = (String::new(), String::new());
        for (key, node) in self.table()? {
            let is_list = matches!(&node.kind, Kind::List(parts)
                if parts.iter().all(|part| matches!(part.kind, Kind::Table(_))));
            let heading = match node.kind {
                Kind::Table(_) => format!("\n[{}]\n", quoted(key)),
                Kind::List(_) if is_list => format!("\n[[{}]]\n", quoted(key)),
                _ => {
                    plain += &node.line(key);
                    continue;
                }
            };
            for part in node.parts() {
                sections += &heading;
                part.table()?.iter().for_each(|(key, node)| sections += &node.line(key));
            }
        }
        Ok(plain + &sections)
    }

    /// A key and its value; those of a list on a line each, if they are tables.
    fn line(&self, key: &str) -> String {
        let value = match &self.kind {
            Kind::List(parts) if parts.iter().any(|part| matches!(part.kind, Kind::Table(_))) => {
                let lines = parts.iter().map(|part| format!("    {},\n", part.value()));
                format!("[\n{}]", lines.collect::<String>())
            }
            _ => self.value().to_string(),
        };
        format!("{} = {value}\n", quoted(key))
    }

    fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(nodes) => Value::Array(nodes.iter().map(Node::value).collect()),
            Kind::Table(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.clone(), node.value()));
                Value::Table(entries.collect())
            }
        }
    }

    /// An error here.
    pub(crate) fn error(&self, what: impl fmt::Display) -> anyhow::Error {
        self.place.error(what)
    }

    /// Its keys.
    pub(crate) fn table(&self) -> anyhow::Result<&[(String, Node)]> {
        match &self.kind {
            Kind::Table(entries) => Ok(entries),
            _ => Err(self.error("a table of keys belongs here")),
        }
    }

    fn into_table(self) -> anyhow::Result<Vec<(String, Node)>> {
        match self.kind {
            Kind::Table(entries) => Ok(entries),
            _ => Err(self.place.error("a table of keys belongs here")),
        }
    }

    /// What a key holds.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Kind::Table(entries) = &self.kind else { return None };
        entries.iter().find(|(known, _)| known == key).map(|(_, node)| node)
    }

    /// Its parts: those of a list, or itself alone.
    pub(crate) fn parts(&self) -> &[Node] {
        match &self.kind {
            Kind::List(nodes) => nodes,
            _ => std::slice::from_ref(self),
        }
    }

    /// As text; numbers as they are printed.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        match &self.kind {
            Kind::Scalar(value) => Ok(plain(value)),
            _ => Err(self.error("a single value belongs here, no list and no table")),
        }
    }

    /// As a boolean.
    pub(crate) fn flag(&self) -> anyhow::Result<bool> {
        match &self.kind {
            Kind::Scalar(Value::Boolean(flag)) => Ok(*flag),
            _ => Err(self.error("true or false belongs here")),
        }
    }

    /// As a whole number of a range.
    pub(crate) fn number(&self, least: u64, most: u64) -> anyhow::Result<u64> {
        let number = match &self.kind {
            Kind::Scalar(Value::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            self.error(format!("a whole number from {least} to {most} belongs here"))
        })
    }

    /// Refuses keys that are not known.
    pub(crate) fn know(&self, known: &[&str]) -> anyhow::Result<()> {
        for (key, node) in self.table()? {
            if !known.contains(&key.as_str()) {
                return Err(node.error(unknown("key", key, known.iter().copied())));
            }
        }
        Ok(())
    }
}

/// The keys of a path: of tables that have one key each, from the outermost on.
fn keys(path: Node) -> Vec<String> {
    let mut keys = Vec::new();
    let mut next = Some(path);
    while let Some(Node { kind: Kind::Table(entries), .. }) = next {
        next = None;
        for (key, node) in entries {
            keys.push(key);
            next = Some(node);
        }
    }
    keys
}

/// A key, in quotes where it needs them.
fn quoted(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => Value::String(key.to_owned()).to_string(),
    }
}

/// A value as text, strings without quotes.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A file and its lines.
struct Lines<'a> {
    file: &'a Rc<str>,
    text: &'a str,
}

impl Lines<'_> {
    fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        Place { file: self.file.clone(), line: 1 + before.matches('\n').count() }
    }

    fn table(&self, table: &Spanned<DeTable<'_>>) -> anyhow::Result<Node> {
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            let mut node = self.node(value)?;
            // What is wrong with a value is told where its key stands.
            node.place = self.place(key.span().start);
            entries.push((key.span().start, key.get_ref().to_string(), node));
        }
        // Axes are run through in the order in which they are written.
        entries.sort_by_key(|(at, ..)| *at);
        let entries = entries.into_iter().map(|(_, key, node)| (key, node)).collect();
        Ok(Node { place: self.place(table.span().start), kind: Kind::Table(entries) })
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> anyhow::Result<Node> {
        let place = self.place(value.span().start);
        let wrong = || place.error("this number cannot be represented");
        let scalar = match value.get_ref() {
            DeValue::Table(table) => {
                let table = Spanned::new(value.span(), table.clone());
                return Ok(Node { place, ..self.table(&table)? });
            }
            DeValue::Array(values) => {
                let nodes = values.iter().map(|value| self.node(value));
                let nodes = nodes.collect::<anyhow::Result<_>>()?;
                return Ok(Node { place, kind: Kind::List(nodes) });
            }
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(parsed.map_err(|_| wrong())?)
            }
            DeValue::Float(number) => {
                let parsed: f64 = number.as_str().parse().map_err(|_| wrong())?;
                Value::Float(Some(parsed).filter(|parsed| parsed.is_finite()).ok_or_else(wrong)?)
            }
            DeValue::Datetime(_) => return Err(place.error("a date belongs nowhere in a plan")),
        };
        Ok(Node { place, kind: Kind::Scalar(scalar) })
    }
}

#[cfg(test)]
mod tests {
    use super::Node;

    #[test]
    fn every_part_knows_its_line() {
        let tree = Node::parse("a.toml", "title = \"x\"\n\n[axes]\nthreads = [1,\n 2]\n").unwrap();
        assert_eq!(tree.get("axes").unwrap().get("threads").unwrap().place.to_string(), "a.toml:4");
        assert_eq!(
            tree.get("axes").unwrap().get("threads").unwrap().parts()[1].place.to_string(),
            "a.toml:5"
        );
        let error = Node::parse("a.toml", "a = 1\nb = = 2\n").unwrap_err().to_string();
        assert!(error.starts_with("a.toml:2: "), "{error}");
        let unknown = tree.know(&["titel", "axes"]).unwrap_err().to_string();
        assert_eq!(unknown, "a.toml:1: no key `title`; the nearest is `titel`");
    }

    #[test]
    fn what_is_rendered_is_read_as_the_same() {
        let text = "title = \"a\"\nseeds = 2\n\n[axes]\nb = [\n    \
                    { name = \"x\", set = { post_ns = 1.5 } },\n]\n\
                    \"set.a\" = [1, 2]\na = [true]\n\n[[where]]\nskip = true\n";
        assert_eq!(Node::parse("a.toml", text).unwrap().render().unwrap(), text);
    }

    #[test]
    fn keys_can_be_given_other_values() {
        let mut tree = Node::parse("a.toml", "[base]\nthreads = 1\n").unwrap();
        tree.set("base.threads=[1, 2]").unwrap();
        tree.set("base.nic=connectx-6").unwrap();
        tree.set("plot.y=mops").unwrap();
        tree.set("axes.\"set.post_ns\"=[20]").unwrap();
        assert!(tree.get("axes").unwrap().get("set.post_ns").is_some());
        let base = tree.get("base").unwrap();
        assert_eq!(base.get("threads").unwrap().parts().len(), 2);
        assert_eq!(base.get("nic").unwrap().text().unwrap(), "connectx-6");
        assert_eq!(tree.get("plot").unwrap().get("y").unwrap().text().unwrap(), "mops");
        let error = base.get("nic").unwrap().number(1, 9).unwrap_err().to_string();
        assert!(error.starts_with("--with base.nic=connectx-6: "), "{error}");
        assert!(tree.set("threads").is_err());
    }
}
