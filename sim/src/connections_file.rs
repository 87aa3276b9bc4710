//! A list of connections that the operator knows, as TOML:
//!
//! ```toml
//! [[connection]]
//! client = "10.0.0.1:0x11"      # address, then queue pair number
//! server = "10.0.0.2:34"
//!
//! [[connection]]
//! client = "[fd00::1]:0x12"
//! server = "[fd00::2]:0x23"
//! ```

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use qpmux_engine::connections::{ConfigureError, Learner};
use qpmux_engine::wire::Qpn;
use serde::Deserialize;
use toml::Spanned;

/// Why a list of connections cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionsError {
    /// No such file, or no right to read it.
    #[error("cannot read the connections in {name}: {source}")]
    Read {
        /// The file.
        name: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not TOML, or with fields that the list does not have.
    #[error("{name}: {source}")]
    Syntax {
        /// The file.
        name: String,
        /// Where and why, from the TOML parser.
        source: Box<toml::de::Error>,
    },
    /// An end of a connection that is none.
    #[error(
        "{name}, line {line}: {end} \"{found}\" {problem}; write address and queue pair number, \
         such as \"10.0.0.1:0x11\" or \"[fd00::1]:17\""
    )]
    End {
        /// The file.
        name: String,
        /// The line, from 1.
        line: usize,
        /// Which end: `client` or `server`.
        end: &'static str,
        /// As it stands in the file.
        found: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two ends that are no connection, or not beside those before it.
    #[error("{name}, line {line}: {source}{remedy}")]
    Connection {
        /// The file.
        name: String,
        /// The line of the client, from 1.
        line: usize,
        /// What is wrong.
        source: ConfigureError,
        /// What would be right.
        remedy: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListFile {
    #[serde(default)]
    connection: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    client: Spanned<String>,
    server: Spanned<String>,
}

/// One end: address and queue pair.
type End = (IpAddr, Qpn);

/// The connections of a list, which may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownConnections {
    name: String,
    /// Line, client, server.
    list: Vec<(usize, End, End)>,
}

impl KnownConnections {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`ConnectionsError`].
    pub fn load(path: &Path) -> Result<Self, ConnectionsError> {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&name, &text),
            Err(source) => Err(ConnectionsError::Read { name, source }),
        }
    }

    /// Reads a list from its text; `name` is what errors call it.
    ///
    /// # Errors
    /// See [`ConnectionsError`].
    pub fn parse(name: &str, text: &str) -> Result<Self, ConnectionsError> {
        let file: ListFile = toml::from_str(text).map_err(|source| ConnectionsError::Syntax {
            name: name.into(),
            source: Box::new(source),
        })?;
        let line_of = |text_of: &Spanned<String>| {
            let before = text.as_bytes().get(..text_of.span().start).unwrap_or_default();
            1 + before.iter().filter(|&&byte| byte == b'\n').count()
        };
        let read = |end, text_of: &Spanned<String>| {
            parse_end(text_of.get_ref()).map_err(|problem| ConnectionsError::End {
                name: name.into(),
                line: line_of(text_of),
                end,
                found: text_of.get_ref().clone(),
                problem,
            })
        };
        let entries = file.connection.iter().map(|entry| {
            let line = line_of(&entry.client);
            Ok((line, read("client", &entry.client)?, read("server", &entry.server)?))
        });
        Ok(Self { name: name.into(), list: entries.collect::<Result<_, _>>()? })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Tells a learner of all of them.
    ///
    /// # Errors
    /// [`ConnectionsError::Connection`] where one cannot be, or contradicts one before it.
    pub fn configure(&self, now_ns: u64, learner: &mut Learner) -> Result<(), ConnectionsError> {
        for &(line, client, server) in &self.list {
            learner.configure(now_ns, client, server).map_err(|source| {
                let remedy = match source {
                    ConfigureError::Taken(_) => ": remove one of the two",
                    ConfigureError::NoRoom => ": remove those that are not of interest",
                    ConfigureError::Addresses | ConfigureError::QueuePair(_) => "",
                };
                ConnectionsError::Connection { name: self.name.clone(), line, source, remedy }
            })?;
        }
        Ok(())
    }
}

/// An address and a queue pair number, or what is wrong with them.
fn parse_end(text: &str) -> Result<End, &'static str> {
    let (address, number) = text.rsplit_once(':').ok_or("has no queue pair number")?;
    let address = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => address.parse().map(IpAddr::V4),
    };
    let number = match number.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    match (address, number) {
        (Err(_), _) => Err("does not begin with an IP address (IPv6 in brackets)"),
        (Ok(_), Ok(number)) if number > 0xff_ffff => Err("has a queue pair number above 0xffffff"),
        (Ok(_), Err(_)) => Err("does not end with a queue pair number"),
        (Ok(address), Ok(number)) => Ok((address, Qpn::new(number))),
    }
}

#[cfg(test)]
mod tests {
    use qpmux_engine::connections::Config;

    use super::*;

    /// What a learner knows from a list.
    fn configured(text: &str) -> Result<Vec<String>, String> {
        let known = KnownConnections::parse("list", text).map_err(|error| error.to_string())?;
        let mut learner = Learner::new(Config { connections_max: 3, ..Config::default() });
        known.configure(0, &mut learner).map_err(|error| error.to_string())?;
        let end = |ip: IpAddr, qpn: Qpn| format!("{ip} {qpn}");
        let ends = learner.connections().map(|c| {
            format!("{}, {}", end(c.client.ip, c.client.qpn), end(c.server.ip, c.server.qpn))
        });
        Ok(ends.collect())
    }

    fn entry(client: &str, server: &str) -> String {
        format!("[[connection]]\nclient = \"{client}\"\nserver = \"{server}\"\n")
    }

    #[test]
    fn connections_are_read() {
        let text = entry("10.0.0.1:0x11", "10.0.0.2:34") + &entry("[fd00::1]:18", "[fd00::2]:0x1f");
        let expected =
            ["10.0.0.1 0x000011, 10.0.0.2 0x000022", "fd00::1 0x000012, fd00::2 0x00001f"];
        assert_eq!(configured(&text).unwrap(), expected);
        assert!(configured("# nothing yet\n").unwrap().is_empty());
        // The same line twice is no contradiction.
        assert_eq!(configured(&(text.clone() + &text)).unwrap(), expected);
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_a_remedy() {
        let good = entry("10.0.0.1:17", "10.0.0.2:34");
        let refused = |more: &str| configured(&(good.clone() + more)).unwrap_err();
        let remedy = "; write address and queue pair number, such as \"10.0.0.1:0x11\" or \
                      \"[fd00::1]:17\"";
        for (end, problem) in [
            ("10.0.0.2", "has no queue pair number"),
            ("10.0.0.2:", "does not end with a queue pair number"),
            ("10.0.0.2:0x", "does not end with a queue pair number"),
            ("10.0.0.2:-3", "does not end with a queue pair number"),
            ("10.0.0.2:0x1000000", "has a queue pair number above 0xffffff"),
            ("10.0.0:17", "does not begin with an IP address (IPv6 in brackets)"),
            ("fd00::1:17", "does not begin with an IP address (IPv6 in brackets)"),
        ] {
            let expected = format!("list, line 6: server \"{end}\" {problem}{remedy}");
            assert_eq!(refused(&entry("10.0.0.1:18", end)), expected);
        }
        assert_eq!(
            refused(&entry("10.0.0.1:18", "10.0.0.1:19")),
            "list, line 5: the ends must be two addresses of one IP version"
        );
        assert_eq!(
            refused(&entry("10.0.0.1:1", "10.0.0.2:19")),
            "list, line 5: queue pair 0x1 has another use, must be 2 to 0xfffffe"
        );
        assert_eq!(
            refused(&entry("10.0.0.1:17", "10.0.0.2:35")),
            "list, line 5: one of its queue pairs belongs to a connection configured before: \
             remove one of the two"
        );
        let more: String =
            (40..43).map(|i| entry(&format!("10.0.0.1:{i}"), &format!("10.0.0.2:{i}"))).collect();
        assert_eq!(
            refused(&more),
            "list, line 11: there is no room for another connection: remove those that are not \
             of interest"
        );
        assert!(refused("[[connection]]\nclient = \"10.0.0.1:18\"\n").contains("server"));
        assert!(refused("[[conection]]\n").contains("line 4"));
        let none = KnownConnections::load(Path::new("no/such/file")).unwrap_err().to_string();
        assert!(none.starts_with("cannot read the connections in no/such/file"), "{none}");
    }
}
