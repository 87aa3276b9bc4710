//! Where frames come in and go out: Linux interfaces, or ports of DPDK.

use serde::Deserialize;

use super::{ConfigError, Settings, wrong_value};

/// One side: an interface or a port.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PortSettings {
    /// Name of the network interface, for packet sockets.
    pub interface: Option<String>,
    /// Name of the port with its driver's arguments, for DPDK.
    pub port: Option<String>,
}

/// What DPDK is started with.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct DpdkSettings {
    /// Arguments of EAL.
    pub eal: Vec<String>,
    /// Frames that may wait in each port's queues.
    pub receive_descriptors: u16,
    /// The same, to be sent.
    pub send_descriptors: u16,
    /// How long to sleep when nothing has come in for a while, in microseconds; 0: never.
    pub idle_sleep_us: u32,
}

impl Default for DpdkSettings {
    fn default() -> Self {
        DpdkSettings {
            eal: Vec::new(),
            receive_descriptors: 1_024,
            send_descriptors: 1_024,
            idle_sleep_us: 0,
        }
    }
}

/// Which time it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ClockSettings {
    source: ClockSource,
    /// Nanoseconds of one unit of the driver's receive times.
    unit_ns: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum ClockSource {
    Host,
    Packets,
}

impl Default for ClockSettings {
    fn default() -> Self {
        ClockSettings { source: ClockSource::Host, unit_ns: 1 }
    }
}

impl ClockSettings {
    /// Nanoseconds of a unit of the frames' own times, if these are the time.
    #[must_use]
    pub fn packets(&self) -> Option<u64> {
        (self.source == ClockSource::Packets).then_some(self.unit_ns)
    }
}

/// Both sides' places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Places<'a> {
    /// Interfaces: the clients', the servers'.
    Interfaces(&'a str, &'a str),
    /// Ports of DPDK: the clients', the servers'.
    Ports(&'a str, &'a str),
}

impl Settings {
    /// Where frames come in and go out.
    ///
    /// # Errors
    /// When a side has no place or two, or both sides do not go together.
    pub fn places(&self) -> Result<Places<'_>, ConfigError> {
        let (client, server) = (&self.client, &self.server);
        let pair = |a: &'_ Option<String>, b: &'_ Option<String>| a.is_some() && b.is_some();
        let places = match (client, server) {
            (
                PortSettings { interface: Some(client), port: None },
                PortSettings { interface: Some(server), port: None },
            ) => Places::Interfaces(client, server),
            (
                PortSettings { interface: None, port: Some(client) },
                PortSettings { interface: None, port: Some(server) },
            ) => Places::Ports(client, server),
            (side, _) if pair(&side.interface, &side.port) => {
                return Err(missing("client", "either an interface or a port"));
            }
            (PortSettings { interface: None, port: None }, _) => {
                return Err(missing("client", "an interface, or a port of DPDK"));
            }
            (PortSettings { port: Some(_), .. }, _) => {
                return Err(missing("server", "a port of DPDK, as client has"));
            }
            _ => return Err(missing("server", "an interface, as client has")),
        };
        let (Places::Interfaces(a, b) | Places::Ports(a, b)) = places;
        if a == b {
            let expected = "another one than the client's";
            let key = match places {
                Places::Interfaces(..) => "server.interface",
                Places::Ports(..) => "server.port",
            };
            wrong_value(key, &b, expected)?;
        }
        Ok(places)
    }

    pub(super) fn check_ports(&self) -> Result<(), ConfigError> {
        let places = self.places()?;
        if self.clock.packets() == Some(0) {
            return wrong_value("clock.unit_ns", &0, "at least 1");
        }
        if matches!(places, Places::Interfaces(..)) {
            if self.clock.packets().is_some() {
                let expected = "\"host\" where interfaces are used: only ports of DPDK tell times";
                return wrong_value("clock.source", &"\"packets\"", expected);
            }
            if self.dpdk.is_some() {
                let expected = "left out: interfaces do without DPDK";
                return wrong_value("dpdk", &"there", expected);
            }
        }
        let dpdk = self.dpdk.clone().unwrap_or_default();
        for (key, found) in [
            ("dpdk.receive_descriptors", dpdk.receive_descriptors),
            ("dpdk.send_descriptors", dpdk.send_descriptors),
        ] {
            if !(64..=16_384).contains(&found) {
                return wrong_value(key, &found, "64 to 16,384");
            }
        }
        Ok(())
    }
}

fn missing(side: &'static str, expected: &str) -> ConfigError {
    let found = "not clear".to_owned();
    ConfigError::Value { key: side, found, expected: expected.to_owned() }
}
