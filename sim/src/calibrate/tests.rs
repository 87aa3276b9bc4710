//! Calibration as a whole.

use super::setup::{Measured, no_verbs};
use super::{Calibration, dma};
use crate::calibrate::setup::Experiment;
use crate::nic::Params;

#[test]
fn latency_by_size_is_that_of_pcie_bench() {
    let report = Calibration::load(no_verbs).unwrap();
    let preset = report.presets.iter().find(|preset| preset.name == "nfp6000").unwrap();
    let jobs = report.jobs("nfp6000", |point| point.row.op.starts_with("LAT_DMA_RD"));
    let results = report.run(&jobs, &preset.params);
    assert_eq!(results.len(), 30);
    for (at, model) in results {
        let point = &report.points[at];
        let error = model.unwrap() / point.published - 1.0;
        assert!(error.abs() <= 0.05, "{} bytes: {:.1} %", point.row.x, error * 100.0);
    }
}

#[test]
fn the_committed_presets_explain_every_source_that_can_be_run() {
    let report = Calibration::load(no_verbs).unwrap().report();
    assert!(report.good(), "{}", report.render_text());
    let run: Vec<_> = report.sources.iter().filter(|source| source.rows > 0).collect();
    assert_eq!(run.len(), 2, "{}", report.render_text());
}

#[test]
fn rows_that_presets_are_fitted_to_are_no_predictions() {
    let calibration = Calibration::load(no_verbs).unwrap();
    let repeated = calibration.points.iter().filter(|point| {
        !point.fits && point.plan.is_err() && ["1", "7"].contains(&point.row.x.as_str())
    });
    assert_eq!(repeated.count(), 2);
    let predicted = calibration.points.iter().filter(|point| !point.fits && point.plan.is_ok());
    assert_eq!(predicted.count(), 8 + 48);
}

#[test]
fn a_fit_finds_the_parameters_that_made_its_rows() {
    let mut calibration = Calibration::load(no_verbs).unwrap();
    let at = calibration.presets.iter().position(|preset| preset.name == "nfp6000").unwrap();
    let truth = calibration.presets[at].params.clone();
    // Half of the points are enough, and take half the time.
    calibration.points.retain(|point| {
        point.plan.is_ok_and(|plan| plan.preset == "nfp6000") && point.row.line % 2 == 0
    });
    for point in &mut calibration.points {
        let plan = point.plan.unwrap();
        let Experiment::Dma(setup) = &plan.experiment else { unreachable!() };
        // Another seed than the fit's, so that it cannot simply repeat the run.
        let measured = dma::measure(&truth, setup, 77);
        point.published = plan.experiment.result(plan.quantity, &measured);
    }
    let off = [
        ("pcie_read_ns", 1.4),
        ("pcie_byte_ns", 0.5),
        ("pcie_reads_count", 0.5),
        ("pcie_write_ns", 2.0),
        ("llc_miss_ns", 0.5),
        ("page_walk_ns", 1.5),
        ("page_walks_count", 2.0),
    ];
    for (name, factor) in off {
        let value = (truth.get(name).unwrap() * factor).max(0.01);
        let value = if name.ends_with("_count") { value.round() } else { value };
        calibration.presets[at].params.set(name, value).unwrap();
    }
    calibration.fit(&[], &mut |_, _| {});
    let found = &calibration.presets[at].params;
    for (name, _) in off {
        let (found, true_value) = (found.get(name).unwrap(), truth.get(name).unwrap());
        let error = found / true_value - 1.0;
        assert!(error.abs() < 0.05, "{name}: {found} instead of {true_value}");
    }
}

/// A benchmark of verbs as a formula, to see that one can be plugged in.
fn formula(params: &Params, setup: &super::setup::VerbsSetup, _: u64) -> Option<Measured> {
    let mops = f64::from(setup.threads) / params.post_ns * 1e3;
    Some(Measured { mops, ..Measured::default() })
}

#[test]
fn verbs_that_are_plugged_in_are_scored_and_fitted() {
    let calibration = Calibration::load(formula).unwrap();
    let report = calibration.report();
    assert!(report.sources.iter().all(|source| source.not_run == 0));
    assert!(!report.good(), "a formula like that explains nothing");
    let jobs = calibration.jobs("connectx-6", |point| point.row.group().starts_with("SMART"));
    let preset = calibration.presets.iter().find(|preset| preset.name == "connectx-6").unwrap();
    let mut slower = preset.params.clone();
    slower.set("post_ns", preset.params.post_ns * 1.5).unwrap();
    assert_ne!(calibration.loss(&jobs, &slower), calibration.loss(&jobs, &preset.params));
}

#[test]
fn presets_are_written_as_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let calibration = Calibration::load(no_verbs).unwrap();
    let paths = calibration.write(&dir.path().join("new")).unwrap();
    assert_eq!(paths.len(), calibration.presets.len());
    for (path, preset) in paths.iter().zip(&calibration.presets) {
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, preset.file_with(&preset.params));
    }
}
