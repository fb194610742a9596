//! Settings of the space of recurrent cells: presets, and the checks that every setting passes.

use serde::{Deserialize, Serialize};

use super::tree::{Activation, BASES, Combination};
use crate::space::SpaceError;
use crate::space::error::{check_distinct, wrong};

/// Which recurrent cells the search may say. Lists hold the choices of a decision; each value stands
/// once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSpaceConfig {
    /// Leaves of the tree: 2, 4, 8 or 16.
    pub base: usize,
    /// Choices of a combination, of the nodes and of the injection.
    pub combinations: Vec<Combination>,
    /// Choices of an activation, of the nodes and of the injection.
    pub activations: Vec<Activation>,
}

impl CellSpaceConfig {
    /// A named space: the paper's `ptb`, or `cell-sample`, which has the same cells and smaller
    /// children.
    pub fn preset(name: &str) -> Option<Self> {
        let paper = CellSpaceConfig {
            // paper P8.4
            base: 8,
            // paper P8.2
            combinations: vec![Combination::Add, Combination::ElemMult],
            activations: vec![
                Activation::Identity,
                Activation::Tanh,
                Activation::Sigmoid,
                Activation::Relu,
            ],
        };
        matches!(name, "ptb" | "cell-sample").then_some(paper)
    }

    pub(super) fn check(&self) -> Result<(), SpaceError> {
        if !BASES.contains(&self.base) {
            return wrong("base", format!("is {}; give 2, 4, 8 or 16", self.base));
        }
        check_distinct("combinations", &self.combinations, |x| x.name().to_owned())?;
        check_distinct("activations", &self.activations, |x| x.name().to_owned())
    }
}
