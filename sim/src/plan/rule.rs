//! Exceptions of a plan: runs that are left out, or have other options.

use super::axis::Axis;
use super::settings::{Known, Settings};
use super::tree::Node;
use crate::text::unknown;

/// Places on axes: for each axis, the values that are meant, or `None` for all.
#[derive(Clone, Debug)]
pub(crate) struct Where(Vec<Option<Vec<usize>>>);

/// An exception.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Of which runs.
    pub(super) when: Where,
    /// They are left out.
    pub(super) skip: bool,
    /// Else, their options.
    pub(super) settings: Settings,
}

impl Where {
    /// Everywhere.
    pub(crate) fn everywhere(axes: &[Axis]) -> Self {
        Self(vec![None; axes.len()])
    }

    /// Reads a table of axes with one value or a list.
    pub(super) fn read(node: &Node, axes: &[Axis]) -> anyhow::Result<Self> {
        let mut all = Self::everywhere(axes);
        for (key, node) in node.table()? {
            let Some(number) = axes.iter().position(|axis| axis.name == *key) else {
                let known = axes.iter().map(|axis| axis.name.as_str());
                return Err(node.error(unknown("axis", key, known)));
            };
            let values = &axes[number].values;
            let mut meant = Vec::new();
            for part in node.parts() {
                let name = part.text()?;
                match values.iter().position(|value| value.name == name) {
                    Some(place) => meant.push(place),
                    None => {
                        let known = values.iter().map(|value| value.name.as_str());
                        let what = format!("value of axis `{key}` is called");
                        return Err(part.error(unknown(&what, &name, known)));
                    }
                }
            }
            all.0[number] = Some(meant);
        }
        Ok(all)
    }

    /// Whether a place is meant.
    pub(crate) fn matches(&self, at: &[usize]) -> bool {
        self.0
            .iter()
            .zip(at)
            .all(|(meant, place)| meant.as_ref().is_none_or(|meant| meant.contains(place)))
    }

    /// Axes of which one value is meant.
    pub(crate) fn is_one(&self, axis: usize) -> bool {
        self.0[axis].as_ref().is_some_and(|meant| meant.len() == 1)
    }
}

impl Rule {
    pub(super) fn read(node: &Node, axes: &[Axis], known: &Known) -> anyhow::Result<Self> {
        node.know(&["when", "skip", "set"])?;
        let when = node.get("when").ok_or_else(|| node.error("this needs `when`"))?;
        let skip = node.get("skip").map_or(Ok(false), Node::flag)?;
        let set = node.get("set");
        if skip == set.is_some() {
            return Err(node.error("this needs `skip = true`, or options in `set`"));
        }
        let settings = set.map(|node| known.read(node, &[])).transpose()?.unwrap_or_default();
        Ok(Self { when: Where::read(when, axes)?, skip, settings })
    }
}
