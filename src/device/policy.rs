//! What a device must know of the controller's policy, and what is asked of one that takes it.

use super::DeviceError;
use crate::space::{Decisions, Token};

/// What a tensor of a policy is; matrices are `[inputs][outputs]`, H the units of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `[H][4H]` of a layer.
    LstmInput(usize),
    /// `[H][4H]` of a layer.
    LstmHidden(usize),
    /// `[4H]` of a layer.
    LstmBias(usize),
    /// `[H]`.
    FirstInput,
    /// `[H][H]`.
    AnchorPrevious,
    /// `[H][H]`.
    AnchorCurrent,
    /// `[H]`.
    AnchorV,
    /// `[n][H]` of a kind of n choices.
    Embedding(usize),
    /// `[H][n]` of a kind.
    Head(usize),
    /// `[n]` of a kind.
    HeadBias(usize),
}

/// All that a device must know of a policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Units of a layer.
    pub hidden: usize,
    /// What the tensors are and where they begin, in the order of the weights.
    pub tensors: Vec<(Role, usize)>,
    /// Number of weights.
    pub n_weights: usize,
    /// What it decides.
    pub decisions: Decisions,
}

/// An architecture as its tokens, and what of it is to be increased.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    /// Those of an architecture of the policy's space.
    pub tokens: &'a [Token],
    /// Its layers.
    pub depth: usize,
    /// Weight of its log-probability.
    pub log_probability: f64,
    /// Weight of its decisions' entropies.
    pub entropy: f64,
}

/// A walk that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Walked {
    /// What was decided.
    pub tokens: Vec<Token>,
    /// Logarithm of its probability.
    pub log_probability: f64,
    /// Sum of the entropies of its decisions.
    pub entropy: f64,
}

/// A policy's weights and an optimizer's averages of its gradient, each a value a weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// The weights.
    pub weights: Vec<f64>,
    /// Moving average of the gradient.
    pub mean: Vec<f64>,
    /// Moving average of its square.
    pub square: Vec<f64>,
}

/// A policy on a device, with room for some samples.
pub trait PolicySession {
    /// Sets weights and averages.
    ///
    /// # Errors
    /// Where the device failed, as in all calls below.
    fn write(&mut self, learned: &Learned) -> Result<(), DeviceError>;

    /// Waits, and reads weights and averages.
    ///
    /// # Errors
    /// As [`PolicySession::write`].
    fn read(&mut self) -> Result<Learned, DeviceError>;

    /// Draws architectures: each a number of a sample and its layers.
    ///
    /// # Errors
    /// As [`PolicySession::write`].
    fn sample(&mut self, seed: u64, samples: &[(u64, usize)]) -> Result<Vec<Walked>, DeviceError>;

    /// Forms the gradient of the sum of all objectives on the device.
    ///
    /// # Errors
    /// As [`PolicySession::write`].
    fn gradient(&mut self, batch: &[Replay]) -> Result<(), DeviceError>;

    /// Waits, and reads the gradient.
    ///
    /// # Errors
    /// As [`PolicySession::write`].
    fn read_gradient(&mut self) -> Result<Vec<f64>, DeviceError>;

    /// A step of Adam along the gradient; `corrections` are what the averages of the gradient and
    /// of its square are divided by.
    ///
    /// # Errors
    /// As [`PolicySession::write`].
    fn ascend(&mut self, learning_rate: f64, corrections: [f64; 2]) -> Result<(), DeviceError>;
}
