//! What of a plan's runs is drawn.

use super::axis::Axis;
use super::rule::Where;
use super::tree::{Kind, Node};
use crate::job::Metric;
use crate::text::unknown;

const KEYS: [&str; 13] = [
    "name",
    "title",
    "about",
    "wrong",
    "columns",
    "experiment",
    "heading",
    "x",
    "y",
    "series",
    "panels",
    "only",
    "drawn",
];
const X_KEYS: [&str; 4] = ["axis", "label", "unit", "log"];
const Y_KEYS: [&str; 6] = ["metric", "label", "unit", "log", "name", "heading"];
const DRAWN_KEYS: [&str; 4] = ["experiment", "heading", "series", "ended"];

/// A figure of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) wrong: String,
    pub(crate) columns: usize,
    /// Name of the experiment, in tables; panels add theirs.
    pub(crate) experiment: String,
    /// What stands above its one panel.
    pub(crate) heading: String,
    /// What is along it; none where nothing is run.
    pub(crate) x: Option<Side>,
    /// What is measured; a panel for each.
    pub(crate) y: Vec<Measure>,
    /// Axes whose values have a curve each.
    pub(crate) series: Vec<usize>,
    /// Axes whose values have a panel each.
    pub(crate) panels: Vec<usize>,
    /// Which runs.
    pub(crate) only: Where,
    /// Published curves that nothing is compared with.
    pub(crate) drawn: Vec<DrawnOf>,
}

/// What is along a figure.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// Number of the axis.
    pub(crate) axis: usize,
    pub(crate) label: String,
    pub(crate) unit: String,
    pub(crate) is_log: bool,
}

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    pub(crate) metric: Metric,
    pub(crate) label: String,
    pub(crate) unit: String,
    pub(crate) is_log: bool,
    /// Added to the experiment's name, if there is more than one.
    pub(crate) name: String,
    pub(crate) heading: String,
}

/// Published curves.
#[derive(Clone, Debug)]
pub(crate) struct DrawnOf {
    pub(crate) experiment: String,
    pub(crate) heading: String,
    pub(crate) series: Vec<String>,
    /// What it means that a curve ends before the others.
    pub(crate) ended: Option<String>,
}

/// What a plan says for all of its figures.
pub(super) struct Defaults<'a> {
    pub(super) name: &'a str,
    pub(super) tree: &'a Node,
    pub(super) axes: &'a [Axis],
}

impl Plot {
    /// Reads a figure; what it does not say is the plan's.
    pub(super) fn read(node: &Node, plan: &Defaults<'_>) -> anyhow::Result<Self> {
        node.know(&KEYS)?;
        let axes = plan.axes;
        let text = |key: &str| node.get(key).or_else(|| plan.tree.get(key)).map(Node::text);
        let own = |key: &str| node.get(key).map(Node::text).transpose();
        let name = own("name")?.unwrap_or(plan.name.to_owned());
        let numbers = |key: &str| node.get(key).map(|node| axis_numbers(node, axes)).transpose();
        let only = node.get("only").map(|node| Where::read(node, axes)).transpose()?;
        let plot = Self {
            title: text("title").transpose()?.unwrap_or(name.clone()),
            about: text("about").transpose()?.unwrap_or_default(),
            wrong: text("wrong").transpose()?.unwrap_or_default(),
            columns: node.get("columns").map_or(Ok(1), |node| node.number(1, 8))? as usize,
            experiment: own("experiment")?.unwrap_or(name.clone()),
            heading: own("heading")?.unwrap_or_default(),
            x: node.get("x").map(|node| Side::read(node, axes)).transpose()?,
            y: measures(node)?,
            series: numbers("series")?.unwrap_or_default(),
            panels: numbers("panels")?.unwrap_or_default(),
            only: only.unwrap_or(Where::everywhere(axes)),
            drawn: match node.get("drawn") {
                Some(node) => node.parts().iter().map(DrawnOf::read).collect::<Result<_, _>>()?,
                None => Vec::new(),
            },
            name,
        };
        plot.check(node, axes)?;
        Ok(plot)
    }

    /// What is drawn where a plan does not say it: the first axis along the figure, the second as
    /// curves, all others as panels.
    pub(super) fn usual(plan: &Defaults<'_>) -> anyhow::Result<Self> {
        let empty = Node { place: plan.tree.place.clone(), kind: Kind::Table(Vec::new()) };
        let plot = Self {
            x: (!plan.axes.is_empty()).then(|| Side::of(0, plan.axes)),
            series: (1..plan.axes.len()).take(1).collect(),
            panels: (2..plan.axes.len()).collect(),
            ..Self::read(&empty, &Defaults { axes: &[], ..*plan })?
        };
        let plot = Self { only: Where::everywhere(plan.axes), ..plot };
        plot.check(plan.tree, plan.axes)?;
        Ok(plot)
    }

    /// Each axis has a place, and what is along the figure are numbers.
    fn check(&self, node: &Node, axes: &[Axis]) -> anyhow::Result<()> {
        let Some(x) = &self.x else {
            return match axes.is_empty() || !self.drawn.is_empty() {
                true => Ok(()),
                false => Err(node.error("a plot needs `x`, the axis along it")),
            };
        };
        let mut words = axes[x.axis].values.iter().filter(|value| value.number().is_none());
        if let Some(word) = words.next() {
            let what = format!("`{}` is no number: make this axis `series` or `panels`", word.name);
            return Err(word.place.error(what));
        }
        for (number, axis) in axes.iter().enumerate() {
            let uses = usize::from(x.axis == number)
                + self.series.iter().chain(&self.panels).filter(|used| **used == number).count();
            let is_free = uses == 0 && axis.values.len() > 1 && !self.only.is_one(number);
            if is_free {
                return Err(node.error(format!(
                    "axis `{0}` is neither x nor series nor panels; name it there, or one value \
                     in `only = {{ {0} = ... }}`",
                    axis.name
                )));
            }
            if uses > 1 {
                return Err(node.error(format!("axis `{}` can be one thing only", axis.name)));
            }
        }
        Ok(())
    }
}

fn axis_number(node: &Node, axes: &[Axis]) -> anyhow::Result<usize> {
    let name = node.text()?;
    let known = axes.iter().map(|axis| axis.name.as_str());
    let number = axes.iter().position(|axis| axis.name == name);
    number.ok_or_else(|| node.error(unknown("axis", &name, known)))
}

fn axis_numbers(node: &Node, axes: &[Axis]) -> anyhow::Result<Vec<usize>> {
    node.parts().iter().map(|node| axis_number(node, axes)).collect()
}

impl Side {
    fn of(axis: usize, axes: &[Axis]) -> Self {
        Self { axis, label: axes[axis].name.clone(), unit: String::new(), is_log: false }
    }

    fn read(node: &Node, axes: &[Axis]) -> anyhow::Result<Self> {
        if !matches!(node.kind, Kind::Table(_)) {
            return Ok(Self::of(axis_number(node, axes)?, axes));
        }
        node.know(&X_KEYS)?;
        let axis = node.get("axis").ok_or_else(|| node.error("x needs `axis`"))?;
        let usual = Self::of(axis_number(axis, axes)?, axes);
        Ok(Self {
            label: node.get("label").map_or(Ok(usual.label), Node::text)?,
            unit: node.get("unit").map_or(Ok(usual.unit), Node::text)?,
            is_log: node.get("log").map_or(Ok(false), Node::flag)?,
            ..usual
        })
    }
}

/// What is measured: throughput, if the plan does not say.
fn measures(plot: &Node) -> anyhow::Result<Vec<Measure>> {
    match plot.get("y") {
        Some(node) => node.parts().iter().map(Measure::read).collect(),
        None => Ok(vec![Measure::of(Metric::of("kops")?)]),
    }
}

impl Measure {
    fn of(metric: Metric) -> Self {
        Self {
            label: metric.title.to_owned(),
            unit: metric.unit.to_owned(),
            is_log: false,
            name: metric.name.clone(),
            heading: metric.title.to_owned(),
            metric,
        }
    }

    fn read(node: &Node) -> anyhow::Result<Self> {
        let metric = |node: &Node| Metric::of(&node.text()?).map_err(|error| node.error(error));
        if !matches!(node.kind, Kind::Table(_)) {
            return Ok(Self::of(metric(node)?));
        }
        node.know(&Y_KEYS)?;
        let name = node.get("metric").ok_or_else(|| node.error("y needs `metric`"))?;
        let usual = Self::of(metric(name)?);
        Ok(Self {
            label: node.get("label").map_or(Ok(usual.label), Node::text)?,
            unit: node.get("unit").map_or(Ok(usual.unit), Node::text)?,
            is_log: node.get("log").map_or(Ok(false), Node::flag)?,
            name: node.get("name").map_or(Ok(usual.name), Node::text)?,
            heading: node.get("heading").map_or(Ok(usual.heading), Node::text)?,
            metric: usual.metric,
        })
    }
}

impl DrawnOf {
    fn read(node: &Node) -> anyhow::Result<Self> {
        node.know(&DRAWN_KEYS)?;
        let text = |key: &str| node.get(key).map(Node::text).transpose();
        let series = node.get("series").ok_or_else(|| node.error("this needs `series`"))?;
        Ok(Self {
            experiment: text("experiment")?
                .ok_or_else(|| node.error("this needs an `experiment` that was published"))?,
            heading: text("heading")?.unwrap_or_default(),
            series: series.parts().iter().map(Node::text).collect::<anyhow::Result<_>>()?,
            ended: text("ended")?,
        })
    }
}
