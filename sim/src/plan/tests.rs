//! What plans say, and what is said of those that are wrong.

use super::{Plan, Source};
use crate::builtin::BuiltIn;

fn read(text: &str, with: &[&str], is_quick: bool) -> anyhow::Result<Plan> {
    let with: Vec<String> = with.iter().map(|text| (*text).to_owned()).collect();
    let source = Source { file: "p.toml", name: "p", text, with: &with, is_quick };
    Plan::read(&source, &mut |path| anyhow::bail!("no capture {}", path.display()))
}

const GOOD: &str = "
title = \"t\"
[base]
workload = \"read\"
[axes]
nic = [\"connectx-3\", \"connectx-5\"]
way = [{ name = \"few\", keys = 1 }, { name = \"many\", keys = 1000, slot = 5 }]
threads = [1, 2, 4]
[[where]]
when = { way = \"few\", threads = [2, 4] }
skip = true
[[where]]
when = { threads = 4 }
set = { set.post_ns = 33.5 }
[plot]
x = \"threads\"
y = [\"mops\", \"p99_us\"]
series = \"way\"
panels = \"nic\"
[quick]
ops = 10
";

fn names(plan: &Plan) -> Vec<String> {
    plan.points.iter().map(|point| plan.described(&point.at)).collect()
}

#[test]
fn points_are_the_product_of_axes_without_exceptions() {
    let plan = read(GOOD, &[], false).unwrap();
    let names = names(&plan);
    assert_eq!(names.len(), 2 * 2 * 3 - 2 * 2, "{names:?}");
    assert_eq!(names[0], "nic = connectx-3, way = few, threads = 1");
    assert_eq!(names[3], "nic = connectx-3, way = many, threads = 4");
    assert_eq!(plan.seeds, 3);
    let last = format!("{:?}", plan.points[3].job);
    assert!(last.contains("post_ns: 33.5") && last.contains("keys: 1000"), "{last}");
    let quick = read(GOOD, &[], true).unwrap();
    assert_eq!((quick.points.len(), quick.seeds), (6, 1));
    assert!(format!("{:?}", quick.points[0].job).contains("ops: 10 "));
}

#[test]
fn every_key_can_be_overridden() {
    let with = ["axes.threads=[8]", "base.size=64", "seeds=2", "plot.y=kops", "title=other"];
    let plan = read(GOOD, &with, false);
    let error = plan.unwrap_err().to_string();
    assert!(error.contains("`2`") && error.starts_with("p.toml:10"), "an exception: {error}");
    let plan = read(GOOD, &[&with[..], &["where=[]"]].concat(), false).unwrap();
    assert_eq!((plan.points.len(), plan.seeds, plan.title.as_str()), (4, 2, "other"));
    assert!(format!("{:?}", plan.points[0].job).contains("size: 64,"));
}

/// Plans of folders are read from what was rendered.
#[test]
fn a_rendered_plan_is_the_same_plan() {
    for BuiltIn { name, text, .. } in crate::builtin::all() {
        let plan = read(text, &[], false).unwrap();
        let again = read(&plan.text, &[], false).unwrap();
        assert_eq!(plan.text, again.text, "{name}");
        assert_eq!(format!("{:?}", plan.plots), format!("{:?}", again.plots), "{name}");
        let jobs = |plan: &Plan| {
            let points = plan.points.iter();
            points.map(|point| (plan.described(&point.at), point.job.id(1))).collect::<Vec<_>>()
        };
        assert_eq!(jobs(&plan), jobs(&again), "{name}");
    }
}

#[test]
fn without_plots_there_is_a_usual_one() {
    let plan = read("axes.threads = [1, 2]\naxes.keys = [10, 20]\n", &[], false).unwrap();
    assert_eq!((plan.plots.len(), plan.points.len()), (1, 4));
    assert_eq!(plan.plots[0].series, [1]);
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_the_nearest_name() {
    for (from, to, expected) in [
        ("threads = [1", "thread = [1", "p.toml:8: no option `thread`; the nearest is `threads`"),
        ("keys = 1 ", "kyes = 1 ", "p.toml:7: no option `kyes`; the nearest is `keys`"),
        ("[axes]", "[axis]", "p.toml:5: no key `axis`; the nearest is `axes`"),
        ("\"mops\"", "\"mop\"", "no metric `mop`; the nearest is `mops`"),
        ("series = \"way\"", "series = \"wya\"", "p.toml:18: no axis `wya`; the nearest is `way`"),
        ("\"few\", threads", "\"fex\", threads", "is called `fex`; the nearest is `few`"),
        ("connectx-5", "connectx-55", "connectx-5"),
        ("[1, 2, 4]", "[1, 2, 0]", "threads"),
        ("[1, 2, 4]", "[1, 2, 1]", "p.toml:8: axis `threads` has `1` twice"),
        ("[1, 2, 4]", "[1, \"x\", 4]", "is no number"),
        ("post_ns = 33.5", "pots_ns = 33.5", "post_ns"),
        ("post_ns = 33.5", "post_ns = \"a\"", "p.toml:14"),
        ("x = \"threads\"", "x = \"nic\"", "`connectx-3` is no number"),
        ("panels = \"nic\"\n", "", "axis `nic` is neither x nor series nor panels"),
        ("skip = true", "skip = false", "needs `skip = true`"),
        ("[quick]", "[quick", "p.toml:20"),
        ("title = \"t\"", "name = \"../t\"", "cannot be the name of files"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = format!("{:#}", read(&GOOD.replacen(from, to, 1), &[], false).unwrap_err());
        assert!(error.contains(expected), "{to}: {error}");
    }
}
