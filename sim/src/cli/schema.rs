//! `qpmux schema`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};

use super::output::{json_text, print_bytes};
use super::{Outcome, bench, calibrate, manifest, paper, plot, results, scenarios, sweep};
use crate::calibrate::sensitivity::Sensitivity;
use crate::files::{make_results_dir, write_whole};
use crate::inspect::InspectReport;
use crate::job::JobReport;
use crate::replay::ReplayReport;
use crate::store::StoreReport;
use crate::sweep::{Comparison, Manifest, Record, ResultLine};
use crate::synth::SynthReport;
use crate::verbs::VerbsReport;
use crate::{apps, torture};

/// Print the JSON Schema of a document that qpmux prints or writes, or write those of all.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  qpmux schema\n  qpmux schema replay\n  \
    qpmux schema --out schemas\n\n\
    The schemas are of draft 2020-12. docs/json.md says what of the documents stays as it is.")]
pub(crate) struct Args {
    /// The document whose schema is printed; without one, what documents there are.
    #[arg(value_name = "NAME", conflicts_with = "out",
        value_parser = PossibleValuesParser::new(DOCUMENTS.iter().map(|document| document.name)))]
    name: Option<String>,
    /// Folder to write all schemas to, as NAME.json.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A kind of JSON document.
struct Document {
    name: &'static str,
    /// Where it comes from.
    about: &'static str,
    schema: fn() -> Schema,
}

impl Document {
    const fn of<T: JsonSchema>(name: &'static str, about: &'static str) -> Self {
        Self { name, about, schema: schema::<T> }
    }

    /// Its schema, as a file.
    fn text(&self) -> anyhow::Result<String> {
        let mut schema = (self.schema)();
        schema.insert("title".to_owned(), self.about.into());
        json_text(&schema)
    }
}

/// All of them.
const DOCUMENTS: [Document; 23] = [
    Document::of::<bench::Document>("bench", "qpmux bench --json"),
    Document::of::<calibrate::Document>("calibrate", "qpmux calibrate --json"),
    Document::of::<Vec<Sensitivity>>(
        "calibrate-sensitivities",
        "qpmux calibrate --sensitivities --json",
    ),
    Document::of::<Comparison>("compare", "qpmux compare --json"),
    Document::of::<InspectReport>("inspect", "qpmux inspect --json, and its report.json"),
    Document::of::<manifest::Manifest<'static, ()>>(
        "manifest",
        "manifest.json beside a report.json",
    ),
    Document::of::<paper::Summary>("paper", "qpmux paper --json, and its summary.json"),
    Document::of::<Vec<paper::FitReport>>("paper-fit", "qpmux paper --fit --json"),
    Document::of::<plot::Document>("plot", "qpmux plot --json"),
    Document::of::<ReplayReport>("replay", "qpmux replay --json, and its report.json"),
    Document::of::<scenarios::Summary>("scenarios", "qpmux scenarios --json, and its summary.json"),
    Document::of::<apps::Outcome>(
        "sim-app",
        "qpmux sim --json of an application on adapters that cost nothing",
    ),
    Document::of::<StoreReport>(
        "sim-clover",
        "qpmux sim --json of Clover on adapters that cost something",
    ),
    Document::of::<JobReport>(
        "sim-model",
        "qpmux sim --json of a host's receive path, or of a middlebox that fails",
    ),
    Document::of::<VerbsReport>(
        "sim-verbs",
        "qpmux sim --json of raw verbs, or of a capture's workload",
    ),
    Document::of::<results::Finished>("sweep", "qpmux sweep --json, and qpmux merge --json"),
    Document::of::<sweep::Forecast>("sweep-dry-run", "qpmux sweep --dry-run --json"),
    Document::of::<Manifest>("sweep-manifest", "manifest.json of qpmux sweep and qpmux merge"),
    Document::of::<Record>("sweep-run", "runs/RUN.json of qpmux sweep and qpmux paper"),
    Document::of::<ResultLine<'static>>("sweep-row", "a line of results.jsonl of qpmux sweep"),
    Document::of::<sweep::Part>("sweep-shard", "qpmux sweep --shard --json"),
    Document::of::<SynthReport>("synth", "qpmux synth --json"),
    Document::of::<torture::Report>("torture", "qpmux torture --json, and its report.json"),
];

/// The schema of what is written, which is not always what could be read.
fn schema<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.with_transform(RecursiveTransform(open)).into_generator().into_root_schema_for::<T>()
}

/// Lets an object have keys that it has not now: later versions may add some, also where this one
/// reads only what it has written itself.
fn open(schema: &mut Schema) {
    if schema.get("additionalProperties").is_some_and(|keys| keys == false) {
        schema.remove("additionalProperties");
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(dir) = &args.out {
        make_results_dir(dir)?;
        for document in &DOCUMENTS {
            let path = dir.join(format!("{}.json", document.name));
            write_whole(&path, document.text()?.as_bytes())?;
        }
        return Ok(Outcome::Good);
    }
    let text = match &args.name {
        Some(name) => DOCUMENTS
            .iter()
            .find(|document| document.name == name)
            .context("there is no such document")?
            .text()?,
        None => list(),
    };
    print_bytes(text.as_bytes())?;
    Ok(Outcome::Good)
}

fn list() -> String {
    let mut text = String::new();
    for Document { name, about, .. } in &DOCUMENTS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:24} {about}");
    }
    text
}
