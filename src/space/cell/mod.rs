//! The space of recurrent cells as a sequence of decisions, and tokens to cell and back.

mod config;
mod json;
mod tree;

pub use config::CellSpaceConfig;
pub(super) use json::read;
pub use tree::{Activation, BASES, CellArchitecture, Combination, Operation, Tree};

use super::{DecisionKind, Decisions, SpaceError, Token};

/// A space of recurrent cells.
///
/// Tokens are combination and activation of each node, leaves first, root last; combination and
/// activation of the injection; the node that gives c_t; the node that takes c_(t-1). That is
/// 2 (2 base - 1) + 4 tokens, and every sequence of choices is a cell of its own. Nodes share the two
/// kinds of their choices; the injection and the two indices have kinds of their own.
// paper P8.2, P8.3
#[derive(Clone, Debug)]
pub struct CellSpace {
    config: CellSpaceConfig,
    decisions: Decisions,
}

/// The kinds of choice, in their order in [`Decisions::kinds`].
const COMBINATION: usize = 0;
const ACTIVATION: usize = 1;
const INJECT_COMBINATION: usize = 2;
const INJECT_ACTIVATION: usize = 3;
const STATE_FROM: usize = 4;
const INJECT_INTO: usize = 5;

impl CellSpace {
    /// The space of a configuration, if that keeps the rules.
    pub fn new(config: &CellSpaceConfig) -> Result<Self, SpaceError> {
        config.check()?;
        let n_nodes = Tree::n_nodes(config.base);
        let (combinations, activations) = (config.combinations.len(), config.activations.len());
        let kind = |(name, n_choices)| DecisionKind { name, n_choices };
        let kinds = [
            ("combination", combinations),
            ("activation", activations),
            ("inject_combination", combinations),
            ("inject_activation", activations),
            ("state_from", n_nodes),
            ("inject_into", n_nodes),
        ];
        let mut decisions = Decisions::new(kinds.map(kind).to_vec(), false, 1);
        let mut order = [COMBINATION, ACTIVATION].repeat(n_nodes);
        order.extend([
            INJECT_COMBINATION,
            INJECT_ACTIVATION,
            STATE_FROM,
            INJECT_INTO,
        ]);
        let end = decisions.add_end();
        decisions.first = decisions.add_choices(&order, end);
        Ok(CellSpace {
            config: config.clone(),
            decisions,
        })
    }

    /// What is decided, and in which order.
    pub fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// What the choices of a kind stand for: names of operations, and numbers of nodes from 0.
    pub fn choices(&self, kind: usize) -> Vec<serde_json::Value> {
        let CellSpaceConfig {
            base,
            combinations,
            activations,
        } = &self.config;
        match kind {
            COMBINATION | INJECT_COMBINATION => {
                combinations.iter().map(|x| x.name().into()).collect()
            }
            ACTIVATION | INJECT_ACTIVATION => activations.iter().map(|x| x.name().into()).collect(),
            _ => (0..Tree::n_nodes(*base)).map(|node| node.into()).collect(),
        }
    }

    /// The settings the space was made from.
    pub fn config(&self) -> &CellSpaceConfig {
        &self.config
    }

    /// The decimal logarithm of the number of cells.
    pub fn log10_size(&self) -> f64 {
        let CellSpaceConfig {
            base,
            combinations,
            activations,
        } = &self.config;
        let n_nodes = Tree::n_nodes(*base) as f64;
        let operations = (combinations.len() * activations.len()) as f64;
        (n_nodes + 1.0) * operations.log10() + 2.0 * n_nodes.log10()
    }

    /// The cell that tokens stand for.
    pub fn decode(&self, tokens: &[Token]) -> Result<CellArchitecture, SpaceError> {
        let mut walk = self.decisions.walk(1);
        for (position, &token) in tokens.iter().enumerate() {
            let fault = match walk.choice() {
                Some(kind) if (token as usize) < kind.n_choices => {
                    walk.take(&[token]);
                    continue;
                }
                Some(kind) => format!(
                    "is {token}, but {} has {} choices",
                    kind.name, kind.n_choices
                ),
                None => format!("is one too many: a cell has {position} here"),
            };
            return Err(SpaceError::Tokens { position, fault });
        }
        if let Some(kind) = walk.choice() {
            return Err(SpaceError::Tokens {
                position: tokens.len(),
                fault: format!("is missing: the list ends before {}", kind.name),
            });
        }
        let (pairs, _) = tokens.as_chunks::<2>();
        let operation = |&[combination, activation]: &[Token; 2]| {
            (
                self.config.combinations[combination as usize],
                self.config.activations[activation as usize],
            )
        };
        let (nodes, rest) = pairs.split_at(Tree::n_nodes(self.config.base));
        let [inject, indices] = rest else {
            unreachable!("the walk has four decisions after the nodes");
        };
        Ok(CellArchitecture::Tree(Tree {
            nodes: nodes.iter().map(operation).collect(),
            inject: operation(inject),
            state_from: indices[0] as usize,
            inject_into: indices[1] as usize,
        }))
    }

    /// The tokens of a cell, or the reason why this space has none for it.
    pub fn encode(&self, cell: &CellArchitecture) -> Result<Vec<Token>, SpaceError> {
        let CellArchitecture::Tree(tree) = cell else {
            let reason = "it is the plain LSTM, which is no tree of nodes";
            return Err(SpaceError::cannot_say(reason));
        };
        if tree.base() != self.config.base {
            return Err(SpaceError::cannot_say(format!(
                "its base is {}, which is {} here",
                tree.base(),
                self.config.base
            )));
        }
        let mut tokens = Vec::new();
        for (node, operation) in tree.nodes.iter().enumerate() {
            tokens.extend(self.encode_operation(&format!("node {node}"), *operation)?);
        }
        tokens.extend(self.encode_operation("the injection", tree.inject)?);
        tokens.extend([tree.state_from as Token, tree.inject_into as Token]);
        Ok(tokens)
    }

    fn encode_operation(
        &self,
        place: &str,
        (combination, activation): Operation,
    ) -> Result<[Token; 2], SpaceError> {
        let CellSpaceConfig {
            combinations,
            activations,
            ..
        } = &self.config;
        let token = |at: Option<usize>, name: &str, names: Vec<&str>| match at {
            Some(token) => Ok(token as Token),
            None => Err(SpaceError::cannot_say(format!(
                "{place}: {name} is not one of {}",
                names.join(", ")
            ))),
        };
        Ok([
            token(
                combinations.iter().position(|x| *x == combination),
                combination.name(),
                combinations.iter().map(|x| x.name()).collect(),
            )?,
            token(
                activations.iter().position(|x| *x == activation),
                activation.name(),
                activations.iter().map(|x| x.name()).collect(),
            )?,
        ])
    }
}
