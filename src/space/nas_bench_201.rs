//! The cells of NAS-Bench-201 (Dong and Yang 2020, section 2.1): four nodes, the first of which is the
//! cell's input and the last its output; each reads all before it, each by one of five operations.

use serde::{Deserialize, Serialize};

use super::fields::{Fields, rule};
use super::json::Json;
use super::{ArchitectureError, DecisionKind, Decisions, SpaceError, Token};

/// Edges of a cell in the published order: 0 to 1, 0 to 2, 1 to 2, 0 to 3, 1 to 3, 2 to 3.
pub const EDGES: usize = 6;

/// Cells that there are.
pub const CELLS: usize = 15_625;

/// The kinds of choice, one an edge.
const KINDS: [&str; EDGES] = [
    "edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3",
];

/// Parameters of the network around the cells, with ten classes.
const FRAME_PARAMETERS: u64 = 73_306;

/// What an edge does, in the order of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EdgeOperation {
    /// Nothing passes.
    #[serde(rename = "none")]
    None,
    /// Passes what it reads.
    #[serde(rename = "skip_connect")]
    Skip,
    /// Rectifier, 1x1 convolution, batch normalisation.
    #[serde(rename = "nor_conv_1x1")]
    Conv1x1,
    /// The same with a 3x3 convolution.
    #[serde(rename = "nor_conv_3x3")]
    Conv3x3,
    /// 3x3 average pooling.
    #[serde(rename = "avg_pool_3x3")]
    AveragePool,
}

impl EdgeOperation {
    /// All, in the order of tokens.
    pub const ALL: [EdgeOperation; 5] = [
        EdgeOperation::None,
        EdgeOperation::Skip,
        EdgeOperation::Conv1x1,
        EdgeOperation::Conv3x3,
        EdgeOperation::AveragePool,
    ];

    /// Its published name.
    pub fn name(self) -> &'static str {
        match self {
            EdgeOperation::None => "none",
            EdgeOperation::Skip => "skip_connect",
            EdgeOperation::Conv1x1 => "nor_conv_1x1",
            EdgeOperation::Conv3x3 => "nor_conv_3x3",
            EdgeOperation::AveragePool => "avg_pool_3x3",
        }
    }

    /// Parameters of the edge in all fifteen cells of the network: five of 16, of 32 and of 64
    /// channels, with scale and shift of their normalisation.
    fn parameters(self) -> u64 {
        let of_filter =
            |area: u64| 5 * [16, 32, 64].iter().map(|c| c * (area * c + 2)).sum::<u64>();
        match self {
            EdgeOperation::Conv1x1 => of_filter(1),
            EdgeOperation::Conv3x3 => of_filter(9),
            _ => 0,
        }
    }
}

/// A cell of NAS-Bench-201.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "space", rename = "nas-bench-201")]
pub struct BenchCell {
    /// What each edge does, in the published order.
    pub operations: [EdgeOperation; EDGES],
}

impl BenchCell {
    /// Its place among all cells; the first edge's operation counts most.
    pub fn index(&self) -> usize {
        let digits = self.operations.iter();
        digits.fold(0, |index, operation| index * 5 + *operation as usize)
    }

    /// Trainable parameters of the published network that is made of it, for ten classes.
    pub fn parameters(&self) -> u64 {
        let edges = self.operations.iter().map(|edge| edge.parameters());
        FRAME_PARAMETERS + edges.sum::<u64>()
    }
}

/// Settings of the space: there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchSpaceConfig {}

impl BenchSpaceConfig {
    /// The preset of this space.
    pub(super) fn preset(name: &str) -> Option<Self> {
        (name == "nas-bench-201").then(BenchSpaceConfig::default)
    }
}

/// The space of these cells. Tokens are the six edges' operations, each a kind of choice of its own.
#[derive(Clone, Debug)]
pub struct BenchSpace {
    decisions: Decisions,
}

impl Default for BenchSpace {
    fn default() -> Self {
        BenchSpace::new()
    }
}

impl BenchSpace {
    /// The space.
    pub fn new() -> Self {
        let n_choices = EdgeOperation::ALL.len();
        let kinds = KINDS.map(|name| DecisionKind { name, n_choices });
        let mut decisions = Decisions::new(kinds.to_vec(), false, 1);
        let end = decisions.add_end();
        let order: Vec<usize> = (0..EDGES).collect();
        decisions.first = decisions.add_choices(&order, end);
        BenchSpace { decisions }
    }

    /// What is decided, and in which order.
    pub fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// What the choices of a kind stand for: names of operations.
    pub fn choices(&self) -> Vec<serde_json::Value> {
        EdgeOperation::ALL.iter().map(|x| x.name().into()).collect()
    }

    /// The decimal logarithm of the number of cells.
    pub fn log10_size(&self) -> f64 {
        (CELLS as f64).log10()
    }

    /// The cell that tokens stand for.
    pub fn decode(&self, tokens: &[Token]) -> Result<BenchCell, SpaceError> {
        let mut operations = [EdgeOperation::None; EDGES];
        for (position, &token) in tokens.iter().enumerate() {
            let fault = |fault| SpaceError::Tokens { position, fault };
            let place = operations
                .get_mut(position)
                .ok_or_else(|| fault(format!("is one too many: a cell has {EDGES}")))?;
            let operation = EdgeOperation::ALL.get(token as usize);
            *place = *operation
                .ok_or_else(|| fault(format!("is {token}, but an edge has 5 choices")))?;
        }
        match KINDS.get(tokens.len()) {
            Some(next) => Err(SpaceError::Tokens {
                position: tokens.len(),
                fault: format!("is missing: the list ends before {next}"),
            }),
            None => Ok(BenchCell { operations }),
        }
    }

    /// The tokens of a cell.
    pub fn encode(&self, cell: &BenchCell) -> Vec<Token> {
        let tokens = cell.operations.iter();
        tokens.map(|operation| *operation as Token).collect()
    }
}

/// Reads the rest of a cell's object, whose `space` is known.
pub(super) fn read(mut top: Fields) -> Result<BenchCell, ArchitectureError> {
    let names = EdgeOperation::ALL.map(EdgeOperation::name).join(", ");
    let advice = format!("write a list of {EDGES} of {names}");
    let place = top.place.clone();
    let Json::List(list) = top.require("operations", &advice)? else {
        return Err(rule(
            &place,
            format!("`operations` must be a list; {advice}"),
        ));
    };
    top.finish(&["space", "operations"], "a cell of NAS-Bench-201")?;
    let operation = |json: &Json| {
        let named = |operation: &&EdgeOperation| matches!(json, Json::Text(name) if name == operation.name());
        let found = EdgeOperation::ALL.iter().find(named).copied();
        found.ok_or_else(|| rule(&place, format!("`operations` has {json}; {advice}")))
    };
    let operations = list.iter().map(operation).collect::<Result<Vec<_>, _>>()?;
    let operations = operations.try_into().map_err(|wrong: Vec<_>| {
        let text = format!("`operations` has {} entries; {advice}", wrong.len());
        rule(&place, text)
    })?;
    Ok(BenchCell { operations })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes as the published table has them, and the order of edges and operations.
    #[test]
    fn cells_are_those_of_the_published_table() {
        let space = BenchSpace::new();
        let cases = [
            ([0, 0, 0, 0, 0, 0], 0, 73_306),
            ([1, 1, 2, 2, 0, 4], 4054, 129_306),
            ([3, 3, 3, 1, 3, 2], 11_667, 1_073_466),
            ([4, 4, 4, 4, 4, 4], CELLS - 1, 73_306),
        ];
        for (tokens, index, parameters) in cases {
            let cell = space.decode(&tokens).unwrap();
            assert_eq!(space.encode(&cell), tokens);
            assert_eq!((cell.index(), cell.parameters()), (index, parameters));
        }
        for wrong in [&[0; 5][..], &[0; 7], &[0, 0, 0, 0, 0, 5]] {
            assert!(space.decode(wrong).is_err(), "{wrong:?}");
        }
    }
}
