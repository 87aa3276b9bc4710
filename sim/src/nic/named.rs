//! Numbers that are known by name: files of parameters, each with its source.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::params::{ParamError, Sourced};
use super::preset::rounded;

/// Files of one kind of parameters.
#[derive(Debug)]
pub(crate) struct Named {
    /// What they are: "adapter".
    what: &'static str,
    /// Name and text of each.
    files: &'static [(&'static str, &'static str)],
}

/// Why there are no such numbers.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// No file has this name.
    #[error("no {what} `{name}`; there are {known}")]
    Unknown {
        /// What was asked for.
        what: &'static str,
        /// By this name.
        name: String,
        /// Names that there are.
        known: String,
    },
    /// It cannot be read.
    #[error("{0} {1}: {2}")]
    Syntax(&'static str, &'static str, #[source] toml::de::Error),
    /// It is based on itself, if indirectly.
    #[error("{0} {1} is based on itself")]
    Circle(&'static str, &'static str),
    /// Its parameters are none.
    #[error("{0} {1}: {2}")]
    Params(&'static str, &'static str, #[source] ParamError),
}

/// What a file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    /// The file whose parameters hold where this one gives none.
    based_on: Option<String>,
    parameters: BTreeMap<String, Sourced>,
}

/// What a file says, together with those that it is based on.
#[derive(Debug)]
pub(crate) struct Loaded {
    what: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its own text.
    pub(crate) text: &'static str,
    /// What it is.
    pub(crate) title: String,
    /// All parameters, and where they are from.
    pub(crate) sourced: BTreeMap<String, Sourced>,
    /// The names of those that its own text gives.
    pub(crate) own: Vec<String>,
}

impl Named {
    /// Files with these names and texts. `what` is for errors.
    pub(crate) const fn new(
        what: &'static str,
        files: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { what, files }
    }

    /// The names, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|(name, _)| *name)
    }

    /// The file of that name.
    ///
    /// # Errors
    /// When there is none, or it, or one that it is based on, is wrong.
    pub(crate) fn load(&self, name: &str) -> Result<Loaded, PresetError> {
        let (name, text, File { title, based_on, parameters }) = self.file(name)?;
        let own = parameters.keys().cloned().collect();
        let mut sourced = parameters;
        let mut next = based_on;
        for _ in self.files {
            let Some(base) = next else { break };
            let (_, _, File { based_on, parameters, .. }) = self.file(&base)?;
            for (name, parameter) in parameters {
                sourced.entry(name).or_insert(parameter);
            }
            next = based_on;
        }
        if next.is_some() {
            return Err(PresetError::Circle(self.what, name));
        }
        Ok(Loaded { what: self.what, name, text, title, sourced, own })
    }

    fn file(&self, name: &str) -> Result<(&'static str, &'static str, File), PresetError> {
        let found = self.files.iter().find(|(known, _)| *known == name);
        let &(name, text) = found.ok_or_else(|| PresetError::Unknown {
            what: self.what,
            name: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })?;
        let file =
            toml::from_str(text).map_err(|error| PresetError::Syntax(self.what, name, error))?;
        Ok((name, text, file))
    }
}

impl Loaded {
    /// Its numbers, as `from_sourced` of their type makes them.
    ///
    /// # Errors
    /// When one is missing, unknown or out of its range.
    pub(crate) fn params<P>(
        &self,
        from_sourced: impl FnOnce(&BTreeMap<String, Sourced>) -> Result<P, ParamError>,
    ) -> Result<P, PresetError> {
        from_sourced(&self.sourced)
            .map_err(|error| PresetError::Params(self.what, self.name, error))
    }
}

/// A file's text with these values in it, and all else as it was.
pub(crate) fn text_with(text: &str, values: &[(&str, f64)]) -> String {
    let lines = text.lines().map(|line| match values.iter().find(|(name, _)| gives(line, name)) {
        Some((_, value)) => with_value(line, *value),
        None => line.to_owned(),
    });
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

/// Whether a line of a file gives this parameter.
fn gives(line: &str, name: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| key.trim() == name)
}

/// A line of a file with another value, to four digits.
fn with_value(line: &str, value: f64) -> String {
    const BEFORE: &str = "value = ";
    let Some((head, tail)) = line.split_once(BEFORE) else { return line.to_owned() };
    let tail = tail.find([',', ' ', '}']).map_or("", |end| &tail[end..]);
    format!("{head}{BEFORE}{}{tail}", rounded(value))
}

#[cfg(test)]
mod tests {
    use super::{Named, PresetError};

    const FILES: Named = Named::new(
        "thing",
        &[
            (
                "first",
                r#"title = "1"
                [parameters]
                a = { value = 1, kind = "cited", source = "x" }"#,
            ),
            (
                "second",
                r#"title = "2"
                based_on = "first"
                [parameters]
                b = { value = 2, kind = "cited", source = "x" }"#,
            ),
            (
                "third",
                r#"title = "3"
                based_on = "second"
                [parameters]
                a = { value = 3, kind = "cited", source = "x" }"#,
            ),
            ("circle", "title = '4'\nbased_on = 'circle'\n[parameters]"),
            ("broken", "title = 5"),
        ],
    );

    #[test]
    fn what_a_file_does_not_give_is_that_of_its_base() {
        let third = FILES.load("third").unwrap();
        let values: Vec<_> = third.sourced.iter().map(|(name, of)| (&**name, of.value)).collect();
        assert_eq!((values, third.own), (vec![("a", 3.0), ("b", 2.0)], vec!["a".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let error = FILES.load("fourth").unwrap_err().to_string();
        assert_eq!(error, "no thing `fourth`; there are first, second, third, circle, broken");
        assert!(matches!(FILES.load("circle"), Err(PresetError::Circle("thing", "circle"))));
        assert!(matches!(FILES.load("broken"), Err(PresetError::Syntax("thing", "broken", _))));
    }
}
