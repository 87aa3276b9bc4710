//! What a plan varies.

use toml::Value;

use super::settings::{Known, Settings};
use super::tree::{Kind, Node, Place, plain};

/// What is varied.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Its name.
    pub(crate) name: String,
    /// What it goes through.
    pub(crate) values: Vec<AxisValue>,
}

/// One place on an axis.
#[derive(Clone, Debug)]
pub(crate) struct AxisValue {
    /// Its name in tables.
    pub(crate) name: String,
    /// What figures call it.
    pub(crate) label: String,
    /// Its colour and shape in figures, if not by its place on the axis.
    pub(crate) slot: Option<usize>,
    /// Options of the runs here.
    pub(crate) settings: Settings,
    /// Where it was written.
    pub(crate) place: Place,
}

impl AxisValue {
    /// Its name as a number.
    pub(crate) fn number(&self) -> Option<f64> {
        self.name.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

impl Axis {
    /// Reads an axis: a list of an option's values, a list of named settings, or a table with
    /// `option`, `values` and `label`.
    ///
    /// # Errors
    /// When it is none of these.
    pub(super) fn read(name: &str, node: &Node, known: &Known) -> anyhow::Result<Self> {
        let (option, values, label) = match &node.kind {
            Kind::Table(_) => {
                node.know(&["option", "values", "label"])?;
                let option = node.get("option").map_or(Ok(name.to_owned()), Node::text)?;
                let values = node
                    .get("values")
                    .ok_or_else(|| node.error(format!("axis `{name}` needs `values`, a list")))?;
                (option, values, node.get("label").map(Node::text).transpose()?)
            }
            _ => (name.to_owned(), node, None),
        };
        let Kind::List(nodes) = &values.kind else {
            return Err(node.error(format!("axis `{name}` needs a list of values")));
        };
        let read = |node: &Node| match &node.kind {
            Kind::Table(_) => named(node, known),
            Kind::Scalar(value) => {
                known.check(&option, &node.place)?;
                Ok(plain_value(&option, node, value, label.as_deref()))
            }
            Kind::List(_) => Err(node.error("a value or a table belongs here, no list")),
        };
        let values: Vec<AxisValue> = nodes.iter().map(read).collect::<anyhow::Result<_>>()?;
        if values.is_empty() {
            return Err(node.error(format!("axis `{name}` has no values")));
        }
        for (number, value) in values.iter().enumerate() {
            if values[..number].iter().any(|before| before.name == value.name) {
                return Err(value.place.error(format!("axis `{name}` has `{}` twice", value.name)));
            }
        }
        Ok(Self { name: name.to_owned(), values })
    }
}

/// A value of an option.
fn plain_value(option: &str, node: &Node, value: &Value, label: Option<&str>) -> AxisValue {
    let name = plain(value);
    AxisValue {
        label: label.map_or(name.clone(), |label| label.replace("{}", &name)),
        name,
        slot: None,
        settings: Settings::one(option, node, value.clone()),
        place: node.place.clone(),
    }
}

/// Named settings.
fn named(node: &Node, known: &Known) -> anyhow::Result<AxisValue> {
    let name = node.get("name").ok_or_else(|| node.error("this needs a `name`"))?.text()?;
    let slot = node.get("slot").map(|slot| slot.number(0, 63)).transpose()?;
    Ok(AxisValue {
        label: node.get("label").map_or(Ok(name.clone()), Node::text)?,
        name,
        slot: slot.map(|slot| slot as usize),
        settings: known.read(node, &["name", "label", "slot"])?,
        place: node.place.clone(),
    })
}
