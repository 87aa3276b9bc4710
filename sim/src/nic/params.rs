//! What an adapter costs, as numbers: each with its unit, its range and, in a preset, its source.

use serde::{Deserialize, Serialize};

use crate::text::distance;

/// Where a parameter's value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Fitted to measurements of single verbs; calibration writes it again.
    Fitted,
    /// Arithmetic on cited numbers.
    Derived,
    /// Stated by the source.
    Cited,
    /// Nobody has published it; the source says what speaks for it.
    Assumed,
}

impl Kind {
    /// Its name, as files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Fitted => "fitted",
            Kind::Derived => "derived",
            Kind::Cited => "cited",
            Kind::Assumed => "assumed",
        }
    }
}

/// A value and where it is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sourced {
    /// In the unit that the parameter's name ends with.
    pub value: f64,
    /// How it was found.
    pub kind: Kind,
    /// Who says so, or what speaks for it.
    pub source: String,
}

/// What there is to know of a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name, which ends with its unit.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Least and greatest value.
    pub range: (f64, f64),
}

/// Why there is no such adapter.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ParamError {
    /// No parameter has this name.
    #[error("no parameter `{name}`; the nearest is `{nearest}`")]
    Unknown {
        /// What was written.
        name: String,
        /// What may have been meant.
        nearest: &'static str,
    },
    /// It has no value.
    #[error("parameter `{0}` has no value: {1}")]
    Missing(&'static str, &'static str),
    /// Its value is none that there can be.
    #[error("{name} = {value} is not between {least} and {greatest}: {about}")]
    Range {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The least it can be.
        least: f64,
        /// The greatest.
        greatest: f64,
        /// What it is.
        about: &'static str,
    },
}

/// Numbers that can be named.
pub trait Parameters: Clone {
    /// All parameters.
    fn specs() -> &'static [Spec];

    /// The value of a parameter.
    fn value(&self, name: &str) -> Option<f64>;

    /// Gives a parameter another value.
    ///
    /// # Errors
    /// When there is no such parameter or value.
    fn change(&mut self, name: &str, value: f64) -> Result<(), ParamError>;
}

/// Makes a struct of numbers that can be named: for presets, sweeps and calibration.
macro_rules! parameters {
    (
        $(#[$meta:meta])+ $Name:ident;
        $($(#[doc = $about:literal])+ $name:ident: $least:literal..=$greatest:literal,)+
    ) => {
        $(#[$meta])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $($(#[doc = $about])+ pub $name: f64,)+
        }

        impl $Name {
            /// All parameters.
            pub const SPECS: &'static [$crate::nic::Spec] = &[
                $($crate::nic::Spec {
                    name: stringify!($name),
                    about: concat!($($about,)+).trim_ascii(),
                    range: ($least as f64, $greatest as f64),
                },)+
            ];

            /// The value of a parameter.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<f64> {
                match name {
                    $(stringify!($name) => Some(self.$name),)+
                    _ => None,
                }
            }

            /// Gives a parameter another value.
            ///
            /// # Errors
            /// When there is no such parameter or value.
            pub fn set(&mut self, name: &str, value: f64) -> Result<(), $crate::nic::ParamError> {
                match name {
                    $(stringify!($name) => self.$name = value,)+
                    _ => return Err($crate::nic::unknown(Self::SPECS, name)),
                }
                $crate::nic::check(Self::SPECS, |name| self.get(name))
            }

            /// The values of a preset.
            ///
            /// # Errors
            /// When one is missing, unknown or out of its range.
            pub fn from_sourced(
                sourced: &std::collections::BTreeMap<String, $crate::nic::Sourced>,
            ) -> Result<Self, $crate::nic::ParamError> {
                let is_known = |name: &str| Self::SPECS.iter().any(|spec| spec.name == name);
                if let Some(name) = sourced.keys().find(|name| !is_known(name)) {
                    return Err($crate::nic::unknown(Self::SPECS, name));
                }
                let need = |name: &'static str| {
                    let about = Self::SPECS.iter().find(|spec| spec.name == name);
                    sourced.get(name).map(|sourced| sourced.value).ok_or(
                        $crate::nic::ParamError::Missing(name, about.map_or("", |s| s.about)),
                    )
                };
                let all = Self { $($name: need(stringify!($name))?,)+ };
                $crate::nic::check(Self::SPECS, |name| all.get(name))?;
                Ok(all)
            }
        }

        impl $crate::nic::Parameters for $Name {
            fn specs() -> &'static [$crate::nic::Spec] {
                Self::SPECS
            }

            fn value(&self, name: &str) -> Option<f64> {
                self.get(name)
            }

            fn change(&mut self, name: &str, value: f64) -> Result<(), $crate::nic::ParamError> {
                self.set(name, value)
            }
        }
    };
}
pub(crate) use parameters;

parameters! {
    /// Everything that an adapter, and the host around it, costs. Times in ns, unless a name says
    /// otherwise.
    Params;

    /// CPU time of a thread for one posted work request, doorbell included.
    post_ns: 0..=10000,
    /// CPU time of a thread for one completion.
    poll_ns: 0..=10000,
    /// Time that a contended lock takes from one thread to the next, without further waiters.
    lock_handoff_ns: 0..=20000,
    /// The same, more for each thread that waits: each spins on the lock's cache line.
    lock_waiter_ns: 0..=5000,
    /// Time that a doorbell register is locked for one request, where queue pairs share it.
    doorbell_hold_ns: 0..=5000,
    /// Doorbell registers that belong to one queue pair each, the first ones opened.
    doorbells_own_count: 0..=4096,
    /// Doorbell registers that the other queue pairs share, under a lock each.
    doorbells_shared_count: 1..=4096,
    /// From the write to a doorbell register until the adapter has it: half a PCIe round trip.
    doorbell_latency_ns: 0..=5000,
    /// Work requests in bytes, as they are fetched.
    wqe_bytes: 16..=1024,
    /// Fetched work requests that the adapter holds; what is outstanding beyond is fetched twice.
    wqe_cache_count: 1..=1000000,
    /// A queue pair's own pipeline: time per packet that it sends.
    qp_issue_ns: 0..=10000,
    /// Time per packet of the whole adapter, sending; the reciprocal of its message rate.
    message_ns: 0..=10000,
    /// Time per request packet of the whole adapter, receiving.
    inbound_ns: 0..=10000,
    /// Latency of the sending half, beyond the times above.
    tx_latency_ns: 0..=10000,
    /// Latency of the receiving half, beyond the times above.
    rx_latency_ns: 0..=10000,
    /// From a WRITE's arrival in the receiving half to its acknowledgement.
    write_ack_ns: 0..=10000,
    /// From an answer's arrival in the receiving half to what software can see of it.
    completion_ns: 0..=10000,
    /// Cache for queue pairs' contexts.
    context_cache_bytes: 0..=100000000,
    /// One context.
    context_bytes: 1..=65536,
    /// Contexts that can be fetched at a time.
    context_fetches_count: 1..=1024,
    /// Cache for translations of pages (MTT).
    mtt_cache_bytes: 0..=100000000,
    /// One translation.
    mtt_entry_bytes: 1..=4096,
    /// Cache for memory regions (MPT).
    mpt_cache_bytes: 0..=100000000,
    /// One region.
    mpt_entry_bytes: 1..=4096,
    /// Entries of a set of all these caches.
    cache_ways_count: 1..=1024,
    /// Least latency of a PCIe read.
    pcie_read_ns: 0..=10000,
    /// Mean of what comes to that, exponentially distributed.
    pcie_jitter_ns: 0..=10000,
    /// More for each byte read.
    pcie_byte_ns: 0..=100,
    /// PCIe reads on their way at a time.
    pcie_reads_count: 1..=4096,
    /// PCIe bandwidth in one direction, in Gbit/s.
    pcie_gbps: 1..=1000,
    /// From a write to host memory until a read behind it is held up no longer.
    pcie_write_ns: 0..=10000,
    /// More for a read that misses the host's last-level cache.
    llc_miss_ns: 0..=10000,
    /// The host's last-level cache.
    llc_bytes: 0..=2000000000,
    /// The part of it that the adapter's writes can fill (DDIO).
    ddio_bytes: 0..=2000000000,
    /// Translations that the host's IOMMU holds, where it is on.
    iotlb_count: 1..=1000000,
    /// Page of the IOMMU.
    iotlb_page_bytes: 4096..=1073741824,
    /// Time that the IOMMU takes for a page that it holds no translation of.
    page_walk_ns: 0..=10000,
    /// Pages that it looks up at a time.
    page_walks_count: 1..=1024,
    /// Time that a COMPARE_SWAP keeps its word in host memory.
    cas_host_ns: 0..=10000,
    /// Time that a FETCH_ADD keeps its word in host memory.
    faa_host_ns: 0..=10000,
    /// Time that a READ keeps its address in host memory.
    read_host_ns: 0..=10000,
    /// Time that a COMPARE_SWAP keeps its word in the adapter's memory.
    cas_device_ns: 0..=10000,
    /// Time that a FETCH_ADD keeps its word in the adapter's memory.
    faa_device_ns: 0..=10000,
    /// Time that a READ or WRITE keeps its address in the adapter's memory.
    access_device_ns: 0..=10000,
    /// Locks of the atomic unit; words of one lock wait for each other.
    atomic_locks_count: 1..=1000000,
    /// Rate of the port, in Gbit/s.
    link_gbps: 1..=1000,
    /// Time from one adapter to another, one way, switch and cables.
    wire_ns: 0..=1000000,
    /// Bytes per packet on the wire beyond the Ethernet frame without its check sequence; less
    /// than 0 for InfiniBand, whose headers are shorter.
    wire_extra_bytes: -64..=256,
}

/// Whether all values are in their ranges.
pub(crate) fn check(specs: &[Spec], value: impl Fn(&str) -> Option<f64>) -> Result<(), ParamError> {
    for spec in specs {
        let value = value(spec.name).unwrap_or(f64::NAN);
        let (least, greatest) = spec.range;
        if !(least..=greatest).contains(&value) {
            let Spec { name, about, .. } = *spec;
            return Err(ParamError::Range { name, value, least, greatest, about });
        }
    }
    Ok(())
}

/// There is no such parameter; but one with a similar name.
pub(crate) fn unknown(specs: &[Spec], name: &str) -> ParamError {
    let names = specs.iter().map(|spec| spec.name);
    let nearest = names.min_by_key(|known| distance(known, name)).unwrap_or("");
    ParamError::Unknown { name: name.to_owned(), nearest }
}

#[cfg(test)]
mod tests {
    use super::{ParamError, Params};

    #[test]
    fn a_misspelt_name_is_told_the_nearest() {
        let error = super::unknown(Params::SPECS, "qp_isue_ns");
        assert!(matches!(error, ParamError::Unknown { nearest: "qp_issue_ns", .. }));
    }

    #[test]
    fn every_name_ends_with_its_unit() {
        for spec in Params::SPECS {
            let unit = spec.name.rsplit('_').next().unwrap_or("");
            assert!(["ns", "count", "bytes", "gbps"].contains(&unit), "{}", spec.name);
            assert!(!spec.about.is_empty());
        }
    }
}
