//! Children that are looked up in a table instead of trained: the cells of NAS-Bench-201.

use serde::{Deserialize, Serialize};

use crate::data::nas_bench_201::BenchTable;
use crate::space::BenchCell;
use crate::train::Scores;

/// How such children are "trained": there is nothing to set but the fact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// What answers.
    #[serde(default)]
    pub evaluator: TableEvaluator,
}

/// What answers for children that are not trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableEvaluator {
    /// The bundled table.
    #[default]
    Table,
}

/// What the table has for a cell: the accuracies of its runs, and its parameters.
pub fn look_up(cell: &BenchCell) -> (Scores, u64) {
    let runs = BenchTable::bundled().runs(cell.index());
    (Scores::TableAccuracies(runs), cell.parameters())
}
