//! The steps of a plan: operations on buffers, complete before a device sees them.
//!
//! Devices know nothing of architectures; all they run is this. Letters: n images of the batch,
//! c channels, h w height and width, f filters, kh kw filter height and width.

use super::Shape;
pub use super::buffer::{Buffer, BufferId, Content, Span};
use super::recurrent::{Decoder, Embedding, Stack};

/// Position of a convolution in [`Plan::convs`](super::Plan::convs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvId(pub usize);

/// Position of a batch normalisation in [`Plan::norms`](super::Plan::norms).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormId(pub usize);

/// A tensor that is read in place as a part of a concatenation.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The tensor.
    pub buffer: BufferId,
    /// Its own shape; the concatenation pads it with zeros at the bottom and right.
    pub shape: Shape,
    /// Its first channel in the concatenation.
    pub first_channel: usize,
}

/// A convolution:
/// `y[n,f,i,j] = sum over c, u, v of w[f,c,u,v] x[n,c, i s - kh/2 + u, j t - kw/2 + v]`.
#[derive(Clone, Debug)]
pub struct Conv {
    /// The parts of x in order.
    pub sources: Vec<Source>,
    /// The concatenation x.
    pub input: Shape,
    /// Result y.
    pub output: Shape,
    /// Filter height and width, odd.
    pub filter: [usize; 2],
    /// Stride along height and width.
    pub stride: [usize; 2],
    /// Weights `[f][c][kh][kw]` in the vectors of weights and of gradients.
    pub weight: Span,
    /// y after the forward pass; the gradient of the loss to y in the backward pass.
    pub y: BufferId,
    /// The device's packed weights.
    pub packed: BufferId,
    /// Statistics of y as [`Step::Moments`] writes them.
    pub moments: BufferId,
    /// Whether its gradients are computed too; else a device may pack the weights for the forward
    /// pass alone.
    pub gradients: bool,
}

/// What batch normalisation adds to a variance, where nothing else is said.
pub const NORM_EPSILON: f64 = 1e-5;
/// The part of the running statistics that a batch replaces.
pub const NORM_RUNNING: f64 = 0.1;

/// Batch normalisation, with or without ReLU: out = scale (x - mean) / sqrt(var + eps) + shift.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Input x.
    pub x: BufferId,
    /// Result.
    pub out: BufferId,
    /// Shape of both.
    pub shape: Shape,
    /// Whether max(0, ·) follows.
    pub relu: bool,
    /// The eps of the formula.
    pub epsilon: f64,
    /// Scale and shift in the vectors of weights and of gradients.
    pub scale: Span,
    /// As `scale`.
    pub shift: Span,
    /// Running mean and variance in the vector of running statistics.
    pub running_mean: Span,
    /// As `running_mean`.
    pub running_var: Span,
    /// Statistics of x, `[n][2][8 planes]`: mean over h and w of each image's channel, and the sum
    /// of squared differences from it.
    pub moments: BufferId,
    /// A row of `[7][8 planes]` each: mean; 1 / sqrt(var + eps); factor and summand of
    /// out = factor x + summand; and of the gradient, dx = row 4 dz + row 5 x + row 6.
    pub coefficients: BufferId,
    /// Gradient of the loss to the result, masked by the ReLU.
    pub dz: BufferId,
    /// Sums over h and w of dz and of dz (x - mean) / sqrt(var + eps), `[n][2][8 planes]`.
    pub dz_sums: BufferId,
    /// Gradient to x: the buffer of x itself for a convolution's result, else that of dz.
    pub dx: BufferId,
}

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value, which a NaN counts as; the first one in row order takes the gradient.
    Max,
    /// The mean of the window.
    Avg,
}

/// A pool without padding.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Which.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub window: [usize; 2],
    /// Stride along height and width.
    pub stride: [usize; 2],
    /// Input and its shape.
    pub x: BufferId,
    /// Shape of the input.
    pub input: Shape,
    /// Result.
    pub out: BufferId,
    /// Shape of the result.
    pub output: Shape,
}

/// What one consumer adds to the gradient of a tensor.
#[derive(Clone, Debug)]
pub enum Contribution {
    /// A convolution that reads the tensor as source number `source`; its `y` holds dy.
    Conv {
        /// The consumer.
        conv: ConvId,
        /// Which of its sources the tensor is.
        source: usize,
    },
    /// A copy into a padded concat (or an identity): the gradient's planes from `first_plane`,
    /// cropped to the tensor's height and width.
    Copy {
        /// Gradient to the concat.
        dout: BufferId,
        /// Its shape.
        shape: Shape,
        /// The tensor's first plane of 8 channels in it.
        first_plane: usize,
    },
    /// Global average pooling: dfeatures / (h w) at every pixel.
    GlobalAveragePool {
        /// Gradient to the features, `[n][n_features]`.
        dfeatures: BufferId,
        /// The tensor's first feature.
        first_feature: usize,
        /// Features of an image.
        n_features: usize,
        /// h w of the padded concatenation.
        pixels: usize,
    },
    /// A pool.
    Pool {
        /// The pool; its `x` is the tensor.
        pool: Pool,
        /// Gradient to its result.
        dout: BufferId,
    },
    /// Local contrast normalisation.
    Lcn {
        /// The tensor itself.
        x: BufferId,
        /// Gradient to the result.
        dout: BufferId,
    },
}

/// One operation.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes the views of the batch's records, and their labels.
    LoadBatch {
        /// Images `[n][3][32][32]`.
        images: BufferId,
    },
    /// y of a convolution and its moments.
    Conv(ConvId),
    /// Moments of x, for a normalisation whose x no convolution of its own has written.
    Moments(NormId),
    /// Normalises by the batch's statistics and moves the running ones.
    Norm(NormId),
    /// Normalises by the running statistics.
    NormRunning(NormId),
    /// A pool.
    Pool(Pool),
    /// Local contrast normalisation of `x` into `out`.
    Lcn {
        /// Input.
        x: BufferId,
        /// Result.
        out: BufferId,
        /// Shape of both.
        shape: Shape,
    },
    /// Copies sources into one zero-padded tensor.
    Concat {
        /// What is copied.
        sources: Vec<Source>,
        /// Result.
        out: BufferId,
        /// Its shape.
        shape: Shape,
    },
    /// `features[n,c]` = sum over h, w of the sources / `pixels`.
    GlobalAveragePool {
        /// The parts of the concatenation.
        sources: Vec<Source>,
        /// h w of the padded concatenation.
        pixels: usize,
        /// Result `[n][n_features]`.
        features: BufferId,
    },
    /// logits = features W^T + bias.
    Classifier(Classifier),
    /// Loss and number of correct images of the batch; dlogits = (softmax - one-hot) / n.
    SoftmaxXent {
        /// Input `[n][n_classes]`.
        logits: BufferId,
        /// Gradient `[n][n_classes]`.
        dlogits: BufferId,
        /// Number of classes.
        n_classes: usize,
    },
    /// Gradients to features, weights and bias of the classifier.
    ClassifierGrad(Classifier),
    /// The gradient of a tensor: gathers from all its consumers and writes once. With `norm`, it
    /// is that normalisation's result: the ReLU's mask is applied and `dz_sums` written.
    Gather {
        /// The gradient.
        out: BufferId,
        /// Its shape.
        shape: Shape,
        /// What the consumers add, in order.
        contributions: Vec<Contribution>,
        /// The normalisation whose result the tensor is.
        norm: Option<NormId>,
    },
    /// dx, and the gradients of scale and shift, from dz and its sums.
    NormGrad(NormId),
    /// Gradient to a convolution's weights, from its sources and dy.
    ConvFilterGrad(ConvId),
    /// Nesterov momentum over all parameters; notes a value that is not finite; then the counters
    /// go on: step number and batch offset.
    Update,
    /// The device's packed copy of a convolution's weights.
    Pack(ConvId),
    /// The counters go on without an update (evaluation).
    Advance,
    /// The words of the batch's windows.
    LoadTokens {
        /// Words `[t][b]`.
        inputs: BufferId,
        /// The words after them, -1 beyond the end of a row.
        targets: BufferId,
        /// Words of a row: t.
        steps: usize,
    },
    /// Vectors of words.
    Embedding(Embedding),
    /// The gradient to the vectors of words.
    EmbeddingGrad(Embedding),
    /// Recurrent layers over a window.
    Unroll(Stack),
    /// Their gradients: to weights and to the stack's input.
    UnrollGrad(Stack),
    /// Loss of the batch; its gradients to x, weights and bias.
    Decoder(Decoder),
    /// Loss of the batch alone (evaluation).
    DecoderLoss(Decoder),
    /// Gradient descent over all parameters, with the gradient's norm limited; notes a value that is
    /// not finite; then the counters go on.
    Descend,
}

/// The last layer.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// Input `[n][n_features]`.
    pub features: BufferId,
    /// Its gradient.
    pub dfeatures: BufferId,
    /// Result `[n][n_classes]`.
    pub logits: BufferId,
    /// Its gradient.
    pub dlogits: BufferId,
    /// Number of features.
    pub n_features: usize,
    /// Number of classes.
    pub n_classes: usize,
    /// Weights `[n_classes][n_features]`.
    pub weight: Span,
    /// Bias `[n_classes]`.
    pub bias: Span,
}

/// Rows of [`Norm::coefficients`].
pub const COEFFICIENT_ROWS: usize = 7;

impl Step {
    /// A short name for messages and timings.
    pub fn name(&self) -> &'static str {
        match self {
            Step::LoadBatch { .. } => "load_batch",
            Step::Conv(_) => "conv_fwd",
            Step::Moments(_) => "batchnorm_moments",
            Step::Norm(_) => "batchnorm_fwd",
            Step::NormRunning(_) => "batchnorm_running",
            Step::Pool(_) => "pool_fwd",
            Step::Lcn { .. } => "lcn_fwd",
            Step::Concat { .. } => "concat_pad_fwd",
            Step::GlobalAveragePool { .. } => "global_average_pool_fwd",
            Step::Classifier(_) => "classifier_fwd",
            Step::SoftmaxXent { .. } => "softmax_xent",
            Step::ClassifierGrad(_) => "classifier_bwd",
            Step::Gather { .. } => "gather",
            Step::NormGrad(_) => "batchnorm_bwd",
            Step::ConvFilterGrad(_) => "conv_bwd_filter",
            Step::Update => "update",
            Step::Pack(_) => "conv_pack",
            Step::Advance => "advance",
            Step::LoadTokens { .. } => "load_tokens",
            Step::Embedding(_) => "embedding_fwd",
            Step::EmbeddingGrad(_) => "embedding_bwd",
            Step::Unroll(_) => "recurrent_fwd",
            Step::UnrollGrad(_) => "recurrent_bwd",
            Step::Decoder(_) => "decoder",
            Step::DecoderLoss(_) => "decoder_loss",
            Step::Descend => "descend",
        }
    }
}
