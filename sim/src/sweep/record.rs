//! What is kept of a run: a file of its own.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::identity::Identity;
use super::runs::Run;
use crate::job::Shown;
use crate::text::hex;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It showed this.
    Done(Shown),
    /// It could not be made, and why.
    Failed(String),
}

/// What of a run is good for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Ok,
    /// It was made, and something in it broke a rule or failed.
    Broken,
    /// It could not be made.
    Failed,
}

/// A run's file.
#[derive(JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The run's name.
    id: String,
    /// The program that made it.
    program: Identity,
    /// Its seed.
    seed: u64,
    /// Why it was not made, if it was not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    error: Option<String>,
    /// What it showed, by name; what is no finite number is left out.
    metrics: BTreeMap<String, f64>,
    /// Latencies in ns by kind of operation: HdrHistogram V2, compressed, Base64.
    histograms: BTreeMap<String, String>,
    /// SHA-256 of all above, as one line of JSON: a digit that has changed on a disk is no number.
    #[serde(skip_serializing_if = "String::is_empty")]
    // It is empty only while it is made.
    #[schemars(!skip_serializing_if)]
    digest: String,
}

impl Record {
    /// Of all but itself.
    fn own_digest(&mut self) -> anyhow::Result<String> {
        let digest = std::mem::take(&mut self.digest);
        let own = hex(&Sha256::digest(serde_json::to_vec(self)?));
        self.digest = digest;
        Ok(own)
    }
}

impl Ended {
    /// What the run showed, if it was made.
    #[must_use]
    pub fn shown(&self) -> Option<&Shown> {
        match self {
            Ended::Done(shown) => Some(shown),
            Ended::Failed(_) => None,
        }
    }

    /// Whether it was made, and nothing was wrong.
    #[must_use]
    pub fn status(&self) -> Status {
        let Some(shown) = self.shown() else { return Status::Failed };
        let is_wrong = |name| shown.metric(name).is_some_and(|count| count > 0.0);
        if is_wrong("violations") || is_wrong("failed") { Status::Broken } else { Status::Ok }
    }

    /// A run's file.
    ///
    /// # Errors
    /// When a histogram cannot be written down.
    pub(super) fn to_json(&self, run: &Run, program: &Identity) -> anyhow::Result<String> {
        let (metrics, histograms, error) = match self {
            Ended::Failed(why) => (BTreeMap::new(), BTreeMap::new(), Some(why.clone())),
            Ended::Done(shown) => {
                // JSON has no infinities; what is none is not shown.
                let metrics = shown.metrics().iter().filter(|(_, value)| value.is_finite());
                let metrics = metrics.map(|(name, value)| (name.clone(), *value)).collect();
                let packed = shown.histograms().iter();
                let packed = packed.map(|(kind, latency)| Ok((kind.clone(), pack(latency)?)));
                (metrics, packed.collect::<anyhow::Result<_>>()?, None)
            }
        };
        let (id, program, seed) = (run.id.clone(), program.clone(), run.seed);
        let digest = String::new();
        let mut record = Record { id, program, seed, error, metrics, histograms, digest };
        record.digest = record.own_digest()?;
        Ok(serde_json::to_string_pretty(&record)? + "\n")
    }

    /// Reads a run's file.
    ///
    /// # Errors
    /// When it is damaged, or another program's or run's.
    pub(super) fn from_json(text: &str, run: &Run, program: &Identity) -> anyhow::Result<Self> {
        let mut record: Record = serde_json::from_str(text).context("it is damaged")?;
        ensure!(record.own_digest()? == record.digest, "it is damaged: its digest is another");
        ensure!(record.id == run.id && record.seed == run.seed, "it is another run's");
        if record.program != *program {
            bail!("it was made by another program ({}); this is {program}", record.program);
        }
        if let Some(why) = record.error {
            return Ok(Ended::Failed(why));
        }
        let histograms = record.histograms.iter();
        let histograms = histograms.map(|(kind, text)| Ok((kind.clone(), unpack(text)?)));
        Ok(Ended::Done(Shown::new(record.metrics, histograms.collect::<anyhow::Result<_>>()?)))
    }
}

impl Status {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Broken => "broken",
            Status::Failed => "failed",
        }
    }
}

fn pack(latency: &Histogram<u64>) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let packed = V2DeflateSerializer::new().serialize(latency, &mut bytes);
    packed.map_err(|error| anyhow::anyhow!("a histogram cannot be written: {error:?}"))?;
    Ok(STANDARD.encode(bytes))
}

fn unpack(text: &str) -> anyhow::Result<Histogram<u64>> {
    let bytes = STANDARD.decode(text).context("a histogram is damaged")?;
    let unpacked = Deserializer::new().deserialize(&mut bytes.as_slice());
    unpacked.map_err(|error| anyhow::anyhow!("a histogram is damaged: {error:?}"))
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    use super::{Ended, Status};
    use crate::job::Shown;
    use crate::sweep::identity::Identity;
    use crate::sweep::runs::Run;

    fn run() -> Run {
        Run { id: "0123".to_owned(), job: 0, seed: 7 }
    }

    proptest! {
        /// Whatever was measured is read again to the last bit.
        #[test]
        fn what_is_written_is_read(
            bits in prop::collection::vec(any::<u64>(), 1..40),
            latencies in prop::collection::vec(1..u64::MAX >> 4, 0..200),
        ) {
            let values = bits.iter().map(|bits| f64::from_bits(*bits));
            let finite = values.filter(|value| value.is_finite()).enumerate();
            let metrics = finite.map(|(number, value)| (format!("m{number}"), value)).collect();
            let mut latency = Histogram::<u64>::new(3).unwrap();
            for ns in latencies {
                let _ = latency.record(ns);
            }
            let histograms = [("all".to_owned(), latency)].into();
            let ended = Ended::Done(Shown::new(metrics, histograms));
            let json = ended.to_json(&run(), &Identity::own()).unwrap();
            let read = Ended::from_json(&json, &run(), &Identity::own()).unwrap();
            prop_assert_eq!(&read, &ended);
            prop_assert_eq!(read.to_json(&run(), &Identity::own()).unwrap(), json);
        }
    }

    #[test]
    fn what_is_damaged_or_of_others_is_refused() {
        let metrics = [("kops".to_owned(), 1.0), ("odd".to_owned(), f64::NAN)].into();
        let ended = Ended::Done(Shown::new(metrics, Default::default()));
        assert_eq!(ended.status(), Status::Ok);
        let json = ended.to_json(&run(), &Identity::own()).unwrap();
        let error = |text: &str, run: &Run, program: &Identity| {
            format!("{:#}", Ended::from_json(text, run, program).unwrap_err())
        };
        let own = Identity::own();
        assert!(error(&json[..json.len() / 2], &run(), &own).contains("damaged"));
        let other = Run { seed: 8, ..run() };
        assert!(error(&json, &other, &own).contains("another run"));
        let older = Identity { sources: "0000".to_owned(), ..own };
        assert!(error(&json, &run(), &older).contains("another program"));
    }
}
