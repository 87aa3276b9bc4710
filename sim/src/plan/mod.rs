//! Plans: what is run and what is drawn of it, in a TOML file.
//!
//! A plan has options of a run that hold throughout (`base`), axes over options, exceptions, and
//! plots. Its runs are the product of its axes, in the order in which they are written, each with
//! seeds from 1 on. All is resolved before anything runs, and checked as far as options can be;
//! what only a run can find out is kept as how it ended.

mod axis;
mod plot;
mod rule;
mod settings;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;

pub(crate) use axis::Axis;
pub(crate) use plot::{DrawnOf, Measure, Plot};
pub(crate) use settings::{Known, Settings};

use self::plot::Defaults;
use self::rule::Rule;
use self::tree::Node;
use crate::job::{Job, Metric};
use crate::options::ReadCapture;
use crate::sweep::FIXED;

const KEYS: [&str; 10] =
    ["name", "title", "about", "wrong", "seeds", "base", "axes", "where", "plot", "quick"];
/// Seeds of each point, unless a plan says it.
const SEEDS: u64 = 3;
/// More points are a mistake.
const POINTS_MAX: usize = 1_000_000;

/// A plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name, and that of its files.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// Runs of each point, with seeds from 1 on.
    pub seeds: u64,
    /// All that it says, and what was given in the place of some of that, as TOML.
    pub text: String,
    pub(crate) axes: Vec<Axis>,
    pub(crate) plots: Vec<Plot>,
    pub(crate) points: Vec<Point>,
}

/// Runs that differ in nothing but their seeds.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Places on all axes.
    pub(crate) at: Vec<usize>,
    /// Options.
    pub(crate) settings: Settings,
    /// What is run.
    pub(crate) job: Job,
}

/// A plan's text, and what is to be another than there.
#[derive(Clone, Debug, Default)]
pub struct Source<'a> {
    /// Its file, for messages.
    pub file: &'a str,
    /// Its name, if it does not say one.
    pub name: &'a str,
    /// What the file holds.
    pub text: &'a str,
    /// Keys with other values, `PATH=VALUE`.
    pub with: &'a [String],
    /// Few points and short runs.
    pub is_quick: bool,
}

impl Plan {
    /// Reads a plan, and finds out what each of its runs is. `captures` reads a capture.
    ///
    /// # Errors
    /// When something is wrong, with its line.
    pub(crate) fn read(
        source: &Source<'_>,
        captures: &mut ReadCapture<'_>,
    ) -> anyhow::Result<Self> {
        let mut tree = Node::parse(source.file, source.text)?;
        source.with.iter().try_for_each(|setting| tree.set(setting))?;
        tree.know(&KEYS)?;
        let known = Known::new();
        let name = tree.get("name").map_or(Ok(source.name.to_owned()), Node::text)?;
        check_name(&name, &tree)?;
        let axes = match tree.get("axes") {
            Some(node) => {
                let read = |(name, node): &(String, Node)| {
                    check_axis(name, node)?;
                    Axis::read(name, node, &known)
                };
                node.table()?.iter().map(read).collect::<anyhow::Result<_>>()?
            }
            None => Vec::new(),
        };
        let plots = plots(&Defaults { name: &name, tree: &tree, axes: &axes })?;
        let mut plan = Self {
            title: tree.get("title").map_or(Ok(name.clone()), Node::text)?,
            seeds: tree.get("seeds").map_or(Ok(SEEDS), |node| node.number(1, 10_000))?,
            text: tree.render()?,
            name,
            axes,
            plots,
            points: Vec::new(),
        };
        plan.points = plan.points(&tree, &known, source.is_quick, captures)?;
        if source.is_quick {
            plan.seeds = 1;
        }
        Ok(plan)
    }

    /// The product of the axes, without exceptions.
    fn points(
        &self,
        tree: &Node,
        known: &Known,
        is_quick: bool,
        captures: &mut ReadCapture<'_>,
    ) -> anyhow::Result<Vec<Point>> {
        let read = |key: &str| tree.get(key).map(|node| known.read(node, &[])).transpose();
        let base = read("base")?.unwrap_or_default();
        let quick = read("quick")?.filter(|_| is_quick).unwrap_or_default();
        let rules = tree.get("where").map_or(&[][..], Node::parts);
        let rules = rules.iter().map(|node| Rule::read(node, &self.axes, known));
        let rules: Vec<Rule> = rules.collect::<anyhow::Result<_>>()?;
        if self.axes.is_empty() && tree.get("base").is_none() {
            // A figure of what was published, and of nothing else.
            return Ok(Vec::new());
        }
        let product = self.axes.iter().map(|axis| axis.values.len());
        let count = product.fold(1usize, usize::saturating_mul);
        anyhow::ensure!(count <= POINTS_MAX, "{}: {count} points are too many", self.name);
        let mut points = Vec::new();
        for number in 0..count {
            let at = self.place(number);
            let mut rules = rules.iter().filter(|rule| rule.when.matches(&at));
            if is_quick && !self.is_at_an_end(&at) {
                continue;
            }
            let mut settings = base.clone();
            for (axis, place) in self.axes.iter().zip(&at) {
                settings.extend(&axis.values[*place].settings);
            }
            if rules.any(|rule| {
                settings.extend(&rule.settings);
                rule.skip
            }) {
                continue;
            }
            settings.extend(&quick);
            let job = settings.job(known, captures).map_err(|error| match at.as_slice() {
                [] => error,
                _ => anyhow::anyhow!("{error:#} (of the run with {})", self.described(&at)),
            })?;
            points.push(Point { at, settings, job });
        }
        anyhow::ensure!(!points.is_empty(), "{}: `where` leaves nothing to run", self.name);
        Ok(points)
    }

    /// All values that runs have of an option.
    pub(crate) fn values_of(&self, option: &str) -> BTreeSet<String> {
        self.points.iter().filter_map(|point| point.settings.text_of(option)).collect()
    }

    /// Whether there are runs on adapters that no option names.
    pub(crate) fn has_usual_adapters(&self) -> bool {
        let costs = |job: &Job| matches!(job, Job::Store(_) | Job::Verbs(_) | Job::Trace(..));
        self.points.iter().any(|p| costs(&p.job) && p.settings.text_of("nic").is_none())
    }

    /// Places on all axes of a point; the last axis goes round first.
    fn place(&self, mut number: usize) -> Vec<usize> {
        let mut at = vec![0; self.axes.len()];
        for (place, axis) in at.iter_mut().zip(&self.axes).rev() {
            *place = number % axis.values.len();
            number /= axis.values.len();
        }
        at
    }

    /// Whether a point is at an end of what is along the figures.
    fn is_at_an_end(&self, at: &[usize]) -> bool {
        self.plots.iter().filter_map(|plot| plot.x.as_ref()).all(|x| {
            let last = self.axes[x.axis].values.len() - 1;
            at[x.axis] == 0 || at[x.axis] == last
        })
    }

    /// Names and values of a point's axes.
    pub(crate) fn described(&self, at: &[usize]) -> String {
        let each = self
            .axes
            .iter()
            .zip(at)
            .map(|(axis, place)| format!("{} = {}", axis.name, axis.values[*place].name));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// A name is a part of file names.
fn check_name(name: &str, tree: &Node) -> anyhow::Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        let place = tree.get("name").unwrap_or(tree);
        return Err(place.error(format!(
            "`{name}` cannot be the name of files: take letters, digits, `-`, `_` and `.`"
        )));
    }
    Ok(())
}

/// An axis is a column of results, beside others.
fn check_axis(name: &str, node: &Node) -> anyhow::Result<()> {
    if FIXED.contains(&name) || Metric::of(name).is_ok() {
        return Err(node.error(format!("results have a column `{name}`: call the axis otherwise")));
    }
    Ok(())
}

fn plots(plan: &Defaults<'_>) -> anyhow::Result<Vec<Plot>> {
    let Some(node) = plan.tree.get("plot") else { return Ok(vec![Plot::usual(plan)?]) };
    let plots: Vec<Plot> =
        node.parts().iter().map(|node| Plot::read(node, plan)).collect::<anyhow::Result<_>>()?;
    for (number, plot) in plots.iter().enumerate() {
        check_name(&plot.name, node)?;
        if plots[..number].iter().any(|before| before.name == plot.name) {
            return Err(node.error(format!("two plots are called `{}`", plot.name)));
        }
    }
    Ok(plots)
}
