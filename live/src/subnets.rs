//! Which frames are between clients and the servers that are configured, by their IP addresses.

use std::fmt;
use std::net::IpAddr;

use qpmux_engine::Side;
use serde::Deserialize;

use crate::addresses::Addresses;

/// Most subnets: what is more is a mistake.
const SUBNETS_MAX: usize = 1_024;

/// Addresses that are equal where the mask has ones. Those of IPv4 are the first four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// One of them.
    pub address: [u8; 16],
    /// Which bits count.
    pub mask: [u8; 16],
    /// Whether they are of IPv6.
    pub is_ipv6: bool,
}

/// The subnets of the servers, as ranges of addresses: in order, none touching another.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Vec<String>")]
pub struct Subnets {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl TryFrom<Vec<String>> for Subnets {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Subnets, String> {
        if texts.len() > SUBNETS_MAX {
            return Err(format!("{} subnets, must be {SUBNETS_MAX} at most", texts.len()));
        }
        let mut subnets = Subnets::default();
        for text in &texts {
            subnets.add(text)?;
        }
        subnets.v4 = merged(subnets.v4, |end| end.checked_add(1));
        subnets.v6 = merged(subnets.v6, |end| end.checked_add(1));
        Ok(subnets)
    }
}

/// Ranges in order, those that touch joined.
fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut joined: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if next(before.1).is_none_or(|next| first <= next) => {
                before.1 = before.1.max(last);
            }
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// A range as prefixes of addresses with so many bits: the largest first that begins where the one
/// before ended.
fn split(first: u128, last: u128, bits: u32) -> Vec<(u128, u32)> {
    let mut prefixes = Vec::new();
    let mut next = Some(first);
    while let Some(at) = next.filter(|at| *at <= last) {
        let mut host = at.trailing_zeros().min(bits);
        while host > 0 && at | (u128::MAX >> (128 - host)) > last {
            host -= 1;
        }
        prefixes.push((at, bits - host));
        next = 1_u128.checked_shl(host).and_then(|size| at.checked_add(size));
    }
    prefixes
}

fn contains<T: Ord>(ranges: &[(T, T)], address: &T) -> bool {
    let behind = ranges.partition_point(|(first, _)| first <= address);
    behind.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= last)
}

impl Subnets {
    fn add(&mut self, text: &str) -> Result<(), String> {
        let wrong = |what: &str| format!("\"{text}\" {what}");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let form = "must be a subnet such as 192.0.2.0/24 or 2001:db8::/32, or an address";
        let address: IpAddr = address.parse().map_err(|_| wrong(form))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        // No sign: a number in front of which something stands is none here.
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let length: u32 = match length {
            Some(text) => {
                let parsed = Some(text).filter(digits).and_then(|text| text.parse().ok());
                parsed.filter(|length| *length <= bits).ok_or_else(|| wrong(form))?
            }
            None => bits,
        };
        let beyond = "has bits set behind its prefix";
        match address {
            IpAddr::V4(address) => {
                let (first, host) = (address.to_bits(), u32::MAX.checked_shr(length).unwrap_or(0));
                if first & host != 0 {
                    return Err(wrong(beyond));
                }
                self.v4.push((first, first | host));
            }
            IpAddr::V6(address) => {
                let (first, host) = (address.to_bits(), u128::MAX.checked_shr(length).unwrap_or(0));
                if first & host != 0 {
                    return Err(wrong(beyond));
                }
                self.v6.push((first, first | host));
            }
        }
        Ok(())
    }

    /// Whether none is configured: then all servers are meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether the address is in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => contains(&self.v4, &address.to_bits()),
            IpAddr::V6(address) => contains(&self.v6, &address.to_bits()),
        }
    }

    /// The same addresses, as prefixes.
    #[must_use]
    pub fn prefixes(&self) -> Vec<Prefix> {
        let v4 = self.v4.iter().flat_map(|&(first, last)| {
            split(first.into(), last.into(), 32).into_iter().map(|(address, length)| {
                let mut prefix = Prefix { address: [0; 16], mask: [0; 16], is_ipv6: false };
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                prefix.address[..4].copy_from_slice(&(address as u32).to_be_bytes());
                prefix.mask[..4].copy_from_slice(&mask.to_be_bytes());
                prefix
            })
        });
        let v6 = self.v6.iter().flat_map(|&(first, last)| {
            split(first, last, 128).into_iter().map(|(address, length)| {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                Prefix { address: address.to_be_bytes(), mask: mask.to_be_bytes(), is_ipv6: true }
            })
        });
        v4.chain(v6).collect()
    }

    /// Whether an address is in both.
    #[must_use]
    pub fn meet(&self, others: &Subnets) -> bool {
        fn any<T: Ord>(some: &[(T, T)], others: &[(T, T)]) -> bool {
            some.iter().any(|(first, last)| others.iter().any(|(a, b)| first <= b && a <= last))
        }
        any(&self.v4, &others.v4) || any(&self.v6, &others.v6)
    }

    /// Whether all addresses are also in the others.
    #[must_use]
    pub fn are_among(&self, others: &Subnets) -> bool {
        fn all<T: Ord>(some: &[(T, T)], others: &[(T, T)]) -> bool {
            some.iter().all(|(first, last)| others.iter().any(|(a, b)| a <= first && last <= b))
        }
        all(&self.v4, &others.v4) && all(&self.v6, &others.v6)
    }

    /// Whether a frame that came in on `side` is from or to one of these servers: behind the
    /// server's interface it is the sender that must be one, behind the clients' the receiver. So
    /// connections that a server has to others are nobody's here, as all is that is not IP.
    #[must_use]
    pub fn concern(&self, side: Side, frame: &[u8]) -> bool {
        let server = |addresses: Addresses| match side {
            Side::Client => addresses.destination,
            Side::Server => addresses.source,
        };
        self.is_empty() || Addresses::of(frame).map(server).is_some_and(|ip| self.contain(ip))
    }
}

/// First and last address of each.
impl fmt::Display for Subnets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v4 = self.v4.iter().map(|&(a, b)| [IpAddr::V4(a.into()), IpAddr::V4(b.into())]);
        let v6 = self.v6.iter().map(|&(a, b)| [IpAddr::V6(a.into()), IpAddr::V6(b.into())]);
        for (at, [first, last]) in v4.chain(v6).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{first} to {last}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::{ETHERTYPE, TAGS_MAX};

    fn subnets(texts: &[&str]) -> Result<Subnets, String> {
        Subnets::try_from(texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn frame(tags: usize, source: &str, destination: &str) -> Vec<u8> {
        let mut frame = vec![2; ETHERTYPE];
        (0..tags).for_each(|_| frame.extend([0x81, 0, 0, 5]));
        match (source.parse().unwrap(), destination.parse().unwrap()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([8, 0]);
                frame.extend([0x45; 12]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd]);
                frame.extend([0x60; 8]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => panic!("addresses of two versions"),
        }
        frame
    }

    #[test]
    fn an_address_is_in_a_subnet_or_not() {
        let some = ["192.0.2.0/25", "192.0.2.128/25", "10.0.0.7", "2001:db8::/32", "::1"];
        let some = subnets(&some).unwrap();
        assert_eq!(some.v4.len(), 2, "those that touch are one");
        for (address, inside) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.1.255", false),
            ("192.0.3.0", false),
            ("10.0.0.6", false),
            ("10.0.0.7", true),
            ("10.0.0.8", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::", false),
        ] {
            assert_eq!(some.contain(address.parse().unwrap()), inside, "{address}");
        }
        let part = subnets(&["192.0.2.64/26", "2001:db8:1::/48"]).unwrap();
        assert!(part.meet(&some) && some.meet(&part));
        assert!(part.are_among(&some) && !some.are_among(&part));
        assert!(!part.meet(&subnets(&["192.0.2.0/26"]).unwrap()));
        assert_eq!(part.to_string().split(", ").next(), Some("192.0.2.64 to 192.0.2.127"));
        let lengths = |texts: &[&str]| -> Vec<u32> {
            let ones = |prefix: &Prefix| prefix.mask.iter().map(|byte| byte.count_ones()).sum();
            subnets(texts).unwrap().prefixes().iter().map(ones).collect()
        };
        assert_eq!(lengths(&["192.0.2.64/26", "192.0.2.128/25", "10.0.0.7"]), [32, 26, 25]);
        assert_eq!(lengths(&["0.0.0.0/0", "::/0"]), [0, 0]);
        assert_eq!(lengths(&["2001:db8::/32", "::1"]), [128, 32]);
        let all = subnets(&["0.0.0.0/0", "10.0.0.0/8", "::/0"]).unwrap();
        assert_eq!((all.v4.len(), all.v6.len()), (1, 1));
        assert!(all.contain("255.255.255.255".parse().unwrap()));
        assert!(all.contain("ffff::".parse().unwrap()));
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for text in ["", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/+8", "::/129", "server", "1/8"] {
            assert!(subnets(&[text]).unwrap_err().contains("must be a subnet"), "{text}");
        }
        for text in ["192.0.2.1/24", "2001:db8::1/32", "1.0.0.0/0"] {
            assert!(subnets(&[text]).unwrap_err().contains("behind its prefix"), "{text}");
        }
        assert!(subnets(&["10.0.0.1"; 1_025]).unwrap_err().contains("1024 at most"));
    }

    #[test]
    fn a_frame_concerns_the_servers_on_their_side_only() {
        let some = subnets(&["192.0.2.0/24", "2001:db8::/32"]).unwrap();
        let pairs = [("10.0.0.1", "192.0.2.9", "10.0.0.2"), ("fd::1", "2001:db8::9", "fd::2")];
        for (client, server, other) in pairs {
            for tags in 0..=TAGS_MAX {
                let asks = frame(tags, client, server);
                let answers = frame(tags, server, client);
                assert!(some.concern(Side::Client, &asks) && some.concern(Side::Server, &answers));
                assert!(
                    !some.concern(Side::Server, &asks) && !some.concern(Side::Client, &answers)
                );
                let others = frame(tags, client, other);
                assert!(!some.concern(Side::Client, &others));
                assert!(!some.concern(Side::Server, &others));
                assert!(Subnets::default().concern(Side::Client, &others));
                for len in 0..asks.len() {
                    assert!(!some.concern(Side::Client, &asks[..len]), "cut at {len}");
                }
            }
            assert!(!some.concern(Side::Client, &frame(3, client, server)), "too many tags");
        }
        let mut arp = frame(0, "10.0.0.1", "192.0.2.9");
        arp[ETHERTYPE..ETHERTYPE + 2].copy_from_slice(&[8, 6]);
        assert!(!some.concern(Side::Client, &arp));
    }
}
