//! The JSON documents, and the schemas that `qpmux schema` has of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use qpmux_tests::{root, sample};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{SAMPLE, run_in, tree};

/// Quick runs of every command, with the schemas that their documents follow. They run in one
/// folder, one after the other.
const RUNS: [(&str, &str); 29] = [
    ("bench", "bench --events 1000"),
    ("bench", "bench engine --packets 1000 --rounds 1"),
    ("bench", "bench replay --packets 1000 --rounds 1"),
    ("bench", "bench caches --lookups 1000"),
    ("calibrate", "calibrate --check"),
    ("inspect", "inspect CAPTURE --out inspected"),
    ("paper", "paper --quick --only 023 --out paper"),
    ("plot", "plot PLOTS/022.csv --reference PLOTS/022.csv --format svg --out figures"),
    ("replay", "replay CAPTURE --server-qps 2 --out replayed"),
    ("replay", "replay CAPTURE --loss 0.01"),
    ("replay", "replay LOSSY-client.pcap --losses-of LOSSY-server.pcap"),
    ("replay", "replay CAPTURE --responses captured --map none"),
    ("scenarios", "scenarios --quick receive-path --out questions"),
    ("sim-app", "sim --ops 500 --threads 16 --map all --switch 100:steer=all"),
    ("sim-app", "sim --app lock --ops 500 --loss 0.001"),
    ("sim-clover", "sim --workload F --ops 500 --warm-up 100 --middlebox qpmux --seeds 2"),
    ("sim-model", "sim --workload receive --ops 2000 --seeds 2"),
    ("sim-verbs", "sim --workload cas --ops 2000 --seeds 2"),
    ("sim-verbs", "sim --workload read --ops 2000 --middlebox qpmux"),
    ("sim-verbs", "sim --trace CAPTURE --middlebox qpmux"),
    ("sweep", "sweep 023 --quick --out swept"),
    ("sweep-dry-run", "sweep 023 --quick --dry-run"),
    ("sweep-shard", "sweep 023 --quick --shard 1/1 --out shard"),
    ("sweep", "merge shard --out merged"),
    ("compare", "compare swept merged"),
    ("synth", "synth --ops 100 synth.pcap"),
    ("inspect", "inspect synth.pcap --profile none"),
    ("replay", "replay synth.pcap --profile clover --learn live"),
    ("torture", "torture --seeds 16 --out tortured"),
];
/// What commands write, files or whole folders of them, and the schemas that it follows.
const FILES: [(&str, &str); 12] = [
    ("inspect", "inspected/report.json"),
    ("manifest", "inspected/manifest.json"),
    ("replay", "replayed/report.json"),
    ("manifest", "replayed/manifest.json"),
    ("torture", "tortured/report.json"),
    ("manifest", "tortured/manifest.json"),
    ("paper", "paper/summary.json"),
    ("scenarios", "questions/summary.json"),
    ("sweep-run", "paper/runs"),
    ("sweep-run", "swept/runs"),
    ("sweep-manifest", "swept/manifest.json"),
    ("sweep-row", "swept/results.jsonl"),
];
/// A document whose run takes minutes.
const SLOW: (&str, &str) =
    ("calibrate-sensitivities", "calibrate --sensitivities --nic connect-ib");
/// A document whose run takes half an hour, which is too long for a test of three fields.
const NOT_RUN: &str = "paper-fit";

/// Runs a command with `--json`, and gives what it printed.
fn document(folder: &Path, command: &str) -> Value {
    let [capture, lossy] =
        [SAMPLE, "kv-ycsb-a-8qp-loss5"].map(|name| sample(name).display().to_string());
    let plots = root().join("plots/reference").display().to_string();
    let word = |word: &str| {
        word.replace("CAPTURE", &capture).replace("LOSSY", &lossy).replace("PLOTS", &plots)
    };
    let arguments = command.split_whitespace().map(word).chain(["--json".to_owned()]);
    serde_json::from_str(&run_in(folder, arguments).assert_good().stdout).unwrap()
}

/// Makes a schema refuse keys that it does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(close),
        Value::Object(keys) => {
            keys.values_mut().for_each(close);
            if keys.get("properties").is_some_and(Value::is_object) {
                keys.entry("additionalProperties").or_insert(false.into());
            }
        }
        _ => {}
    }
}

/// The schema of that name, which then names each key. A schema that is none is refused.
fn closed(name: &str, schemas: &mut Schemas) -> SchemaIndex {
    let text = run_in(&root(), ["schema", name]).assert_good().stdout;
    let mut schema = serde_json::from_str(&text).unwrap();
    close(&mut schema);
    let mut compiler = Compiler::new();
    compiler.add_resource("urn:qpmux", schema).unwrap();
    compiler.compile("urn:qpmux", schemas).unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

/// The documents follow the schema of that name, and without any of their keys they would not.
fn assert_follows(name: &str, documents: &[Value], of: &str) {
    let mut schemas = Schemas::new();
    let schema = closed(name, &mut schemas);
    assert!(!documents.is_empty(), "{of} has no document");
    for document in documents {
        if let Err(error) = schemas.validate(document, schema) {
            panic!("{of} does not follow the schema {name}: {error:#}");
        }
        for key in document.as_object().into_iter().flat_map(|keys| keys.keys()) {
            let mut less = document.clone();
            less.as_object_mut().unwrap().remove(key);
            assert!(
                schemas.validate(&less, schema).is_err(),
                "the schema {name} does not ask for {key}"
            );
        }
    }
}

/// The documents in a file, or in all files of a folder.
fn written(path: &Path) -> Vec<Value> {
    let files = if path.is_dir() { tree(path) } else { vec![path.to_owned()] };
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    let values = |text: String| -> Vec<Value> {
        serde_json::Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect()
    };
    texts.flat_map(values).collect()
}

#[test]
fn documents_follow_their_schemas() {
    let folder = TempDir::new().unwrap();
    for (name, command) in RUNS {
        assert_follows(name, &[document(folder.path(), command)], command);
    }
    for (name, file) in FILES {
        assert_follows(name, &written(&folder.path().join(file)), file);
    }
}

#[test]
#[ignore = "takes minutes"]
fn the_document_of_a_long_run_follows_its_schema() {
    let (name, command) = SLOW;
    let document = document(&root(), command);
    assert!(!document.as_array().unwrap().is_empty());
    assert_follows(name, &[document], command);
}

/// The names of all schemas, as `qpmux schema` lists them.
fn names() -> BTreeSet<String> {
    let list = run_in(&root(), ["schema"]).assert_good().stdout;
    list.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn each_schema_is_put_to_the_test() {
    let tested = RUNS.iter().chain(&FILES).chain([&SLOW]).map(|(name, _)| *name);
    assert_eq!(names(), tested.chain([NOT_RUN]).map(str::to_owned).collect());
}

/// A change of the format has to be seen by whoever reviews it.
#[test]
fn schemas_are_as_they_were() {
    let folder = TempDir::new().unwrap();
    run_in(folder.path(), ["schema", "--out", "schemas"]).assert_good();
    let [kept, made] = [root().join("docs/schemas"), folder.path().join("schemas")];
    let files = |folder: &Path| -> BTreeSet<String> {
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        tree(folder).iter().map(|path| name(path)).collect()
    };
    let anew = "if docs/json.md allows this change, write them anew: \
                cargo run -- schema --out docs/schemas";
    assert_eq!(files(&kept), files(&made), "other files than in docs/schemas: {anew}");
    for file in files(&made) {
        let read = |folder: &Path| fs::read_to_string(folder.join(&file)).unwrap();
        assert!(read(&kept) == read(&made), "docs/schemas/{file} is not as printed: {anew}");
    }
}
