//! Stub.
/// How a node makes one value of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// a + b.
    Add,
    /// a b.
    ElemMult,
    /// The larger.
    Max,
}
/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// z.
    Identity,
    /// tanh z.
    Tanh,
    /// 1 / (1 + exp(-z)).
    Sigmoid,
    /// max(0, z).
    Relu,
    /// sin z.
    Sin,
}
