//! Where frames come in and go out: Linux interfaces, or ports of DPDK.

use std::net::IpAddr;

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
    /// Only RoCE packets from and to `servers` are taken from the port that both sides share; all
    /// others stay the kernel's, which needs a driver that shares its port with it.
    pub isolate: bool,
}

impl Default for DpdkSettings {
    fn default() -> Self {
        DpdkSettings {
            eal: Vec::new(),
            receive_descriptors: 1_024,
            send_descriptors: 1_024,
            idle_sleep_us: 0,
            isolate: false,
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

/// A station on the network of a port that both sides share.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Whose frames go there.
    pub ip: IpAddr,
    /// Its Ethernet address, or that of the router to it.
    pub mac: MacAddress,
}

/// An Ethernet address, as in `02:00:00:00:00:01`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub struct MacAddress(pub [u8; 6]);

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<MacAddress, String> {
        let octet = |text: &str| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::from_str_radix(text, 16).ok().filter(|_| digits)
        };
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        octets
            .and_then(|octets| octets.try_into().ok())
            .map(MacAddress)
            .ok_or_else(|| format!("\"{text}\" must be an address such as 02:00:00:00:00:01"))
    }
}

/// Both sides' places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Places<'a> {
    /// Interfaces: the clients', the servers'.
    Interfaces(&'a str, &'a str),
    /// Ports of DPDK: the clients', the servers'.
    Ports(&'a str, &'a str),
    /// One port of DPDK for both.
    OnePort(&'a str),
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
        match places {
            Places::Interfaces(a, b) if a == b => {
                wrong_value("server.interface", &b, "another one than the client's")?;
                Ok(places)
            }
            Places::Ports(a, b) if a == b => Ok(Places::OnePort(a)),
            _ => Ok(places),
        }
    }

    pub(super) fn check_ports(&self) -> Result<(), ConfigError> {
        let places = self.places()?;
        if self.clock.packets() == Some(0) {
            return wrong_value("clock.unit_ns", &0, "at least 1");
        }
        let one = matches!(places, Places::OnePort(_));
        if one && self.servers.is_empty() {
            let expected = "the servers' subnets, where both sides share a port";
            return wrong_value("servers", &"empty", expected);
        }
        if !one && !self.neighbour.is_empty() {
            let expected = "left out, unless both sides share a port";
            return wrong_value("neighbour", &"there", expected);
        }
        if !one && self.clock.packets().is_some() {
            let expected = "\"host\", unless both sides share a port of DPDK: only there is it \
                known which frame came first";
            return wrong_value("clock.source", &"\"packets\"", expected);
        }
        if matches!(places, Places::Interfaces(..)) && self.dpdk.is_some() {
            let expected = "left out: interfaces do without DPDK";
            return wrong_value("dpdk", &"there", expected);
        }
        let dpdk = self.dpdk.clone().unwrap_or_default();
        for (key, found) in [
            ("dpdk.receive_descriptors", dpdk.receive_descriptors),
            ("dpdk.send_descriptors", dpdk.send_descriptors),
        ] {
            if !(64..=32_768).contains(&found) {
                return wrong_value(key, &found, "64 to 32,768");
            }
        }
        if dpdk.isolate && !one {
            let expected = "false, unless both sides share a port: between two all has to pass";
            return wrong_value("dpdk.isolate", &true, expected);
        }
        if dpdk.isolate && self.worker.len() > 1 {
            let expected = "false with several workers";
            return wrong_value("dpdk.isolate", &true, expected);
        }
        Ok(())
    }
}

fn missing(side: &'static str, expected: &str) -> ConfigError {
    let found = "not clear".to_owned();
    ConfigError::Value { key: side, found, expected: expected.to_owned() }
}
