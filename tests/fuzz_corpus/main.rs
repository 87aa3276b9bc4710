//! Every committed input of the fuzz targets, through the same functions, without a fuzzer.

use std::fs;
use std::path::PathBuf;

use qpmux_engine::{Counters, DropReason, GeneratedKind};
use qpmux_tests::fuzz::{TARGETS, guarded_engine};
use qpmux_tests::root;

/// Bytes of all inputs of one target: they are to stay small.
const CORPUS_BYTES_MAX: usize = 200 * 1024;

fn corpus() -> PathBuf {
    root().join("tests/fuzz/corpus")
}

#[test]
fn every_input_is_survived() {
    for (name, target) in TARGETS {
        let folder = corpus().join(name);
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{name}: there is no input");
        let mut bytes = 0;
        for file in files {
            let input = fs::read(&file).unwrap();
            bytes += input.len();
            // Said only if the test fails.
            println!("{}", file.display());
            target(&input);
        }
        assert!(bytes <= CORPUS_BYTES_MAX, "{name}: {bytes} bytes of inputs");
    }
}

/// A target without a corpus, or the other way round, is a mistake in a name.
#[test]
fn every_folder_has_its_target() {
    let mut folders: Vec<String> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut names = TARGETS.map(|(name, _)| name.to_owned());
    names.sort();
    assert_eq!(folders, names);
    for name in names {
        let binary = root().join(format!("tests/fuzz/fuzz_targets/{name}.rs"));
        assert!(binary.is_file(), "{}", binary.display());
    }
}

/// Inputs of every length of one byte, and none at all.
#[test]
fn dull_inputs_are_survived() {
    for (name, target) in TARGETS {
        println!("{name}");
        for byte in [0, 1, 0x7f, 0xff] {
            for length in (0..64).chain([300, 5000]) {
                target(&vec![byte; length]);
            }
        }
    }
}

/// What an engine has done, by the name of its counter.
type Deed = (&'static str, fn(&Counters) -> u64);

const DEEDS: [Deed; 11] = [
    ("completed", |c| c.completed),
    ("mapped", |c| c.mapped),
    ("alone", |c| c.alone),
    ("emptied", |c| c.emptied),
    ("flips", |c| c.flips),
    ("mapped after a flip", |c| c.flips.min(c.mapped)),
    ("repairs", |c| c.generated(GeneratedKind::Repair)),
    ("read_repeats", |c| c.read_repeats),
    ("server_naks", |c| c.server_naks),
    ("server_qps_lost", |c| c.server_qps_lost),
    ("request_gap", |c| c.dropped(DropReason::RequestGap)),
];

/// The inputs of an engine reach what random packets do not.
#[test]
fn engines_are_led_far() {
    let mut inputs = [0; DEEDS.len()];
    let mut files = 0;
    for entry in fs::read_dir(corpus().join("engine")).unwrap() {
        let input = fs::read(entry.unwrap().path()).unwrap();
        let counters = guarded_engine(&input, |call| call());
        files += 1;
        for (inputs, (_, count)) in inputs.iter_mut().zip(DEEDS) {
            *inputs += u32::from(count(&counters) > 0);
        }
    }
    for ((name, _), inputs) in DEEDS.iter().zip(inputs) {
        println!("{name}: {inputs} of {files} inputs");
    }
    let missing = DEEDS.iter().zip(inputs).find(|(_, inputs)| *inputs == 0);
    assert_eq!(missing.map(|((name, _), _)| name), None, "no input reaches it");
}
