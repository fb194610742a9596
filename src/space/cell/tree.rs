//! What a recurrent cell is: a complete binary tree that turns x_t, h_(t-1) and c_(t-1) into h_t and
//! c_t, or the plain LSTM.

use serde::{Deserialize, Serialize};

/// Leaves of a tree: powers of two, so that every level is full.
pub const BASES: [usize; 4] = [2, 4, 8, 16];

/// A recurrent cell, of any hidden size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellArchitecture {
    /// A cell of the search space.
    Tree(Tree),
    /// The LSTM, for comparison: no search says it. Four gates, each of W x + U h + b: input, forget,
    /// cell, output.
    Lstm,
}

/// A cell as a complete binary tree; `*` and `max` are of each element.
///
/// The value of a leaf i is `activation(combination(W_i x_t, U_i h_(t-1)))`, that of an inner node
/// `activation(combination(left, right))` without parameters, and h_t is the root's. The old cell
/// state enters at one node: with v its value, its parent (or h_t, where it is the root) sees
/// `inject activation(inject combination(v, c_(t-1)))` in place of v. The new one, c_t, is what the
/// combination of one node gives, before its activation; where that is the node of the injection,
/// the injection comes after it and does not enter it.
// paper P8.2, P8.3
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Combination and activation of each node, level by level: the leaves from 0, their parents,
    /// and so on, the root last. [`Tree::n_nodes`] of them.
    pub nodes: Vec<Operation>,
    /// How c_(t-1) enters.
    pub inject: Operation,
    /// The node whose combination gives c_t.
    pub state_from: usize,
    /// The node after which c_(t-1) enters.
    pub inject_into: usize,
}

/// A combination of two values, and the activation of what it gives.
pub type Operation = (Combination, Activation);

/// How two values become one, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// Their sum.
    Add,
    /// Their product.
    ElemMult,
    /// The larger; of equal ones the first, which then takes the whole gradient.
    Max,
}

/// What follows a combination, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Nothing.
    Identity,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// max(x, 0); its slope at 0 is 0.
    Relu,
    /// The sine.
    Sin,
}

impl Combination {
    /// Every combination there is.
    pub const ALL: [Combination; 3] = [Combination::Add, Combination::ElemMult, Combination::Max];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Combination::Add => "add",
            Combination::ElemMult => "elem_mult",
            Combination::Max => "max",
        }
    }
}

impl Activation {
    /// Every activation there is.
    pub const ALL: [Activation; 5] = [
        Activation::Identity,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Relu,
        Activation::Sin,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Identity => "identity",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Relu => "relu",
            Activation::Sin => "sin",
        }
    }
}

impl Tree {
    /// Nodes of a tree with so many leaves.
    pub const fn n_nodes(base: usize) -> usize {
        2 * base - 1
    }

    /// Number of leaves.
    pub fn base(&self) -> usize {
        self.nodes.len().div_ceil(2)
    }

    /// Number of the root.
    pub fn root(&self) -> usize {
        self.nodes.len() - 1
    }

    /// The two nodes that an inner node joins, left and right; nothing for a leaf.
    pub fn children(&self, node: usize) -> Option<[usize; 2]> {
        let inner = node.checked_sub(self.base())?;
        Some([2 * inner, 2 * inner + 1])
    }
}

impl CellArchitecture {
    /// Blocks of rows of a layer's matrices W and U: leaves, or the four gates.
    pub fn n_leaves(&self) -> usize {
        match self {
            CellArchitecture::Tree(tree) => tree.base(),
            CellArchitecture::Lstm => 4,
        }
    }

    /// Trained parameters of a language model of `layers` layers of the cell: a matrix W and a matrix U
    /// a leaf, `[hidden][hidden]` each; for the LSTM a bias too; an embedding, and a decoder with its
    /// bias. Tied, the decoder's matrix is the embedding.
    pub fn parameters(&self, layers: u64, hidden: u64, vocabulary: u64, tied: bool) -> u64 {
        let leaves = self.n_leaves() as u64;
        let biases = match self {
            CellArchitecture::Tree(_) => 0,
            CellArchitecture::Lstm => leaves * hidden,
        };
        let tables = if tied { 1 } else { 2 };
        layers * (2 * leaves * hidden * hidden + biases) + tables * vocabulary * hidden + vocabulary
    }
}
