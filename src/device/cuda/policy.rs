//! The controller's policy on a GPU: walks of whole architectures, their gradient, and Adam.

use super::Cuda;
use super::declare::{In, Out};
use super::driver::{DriverError, Launch, Stream};
use super::optim::{AdamArgs, AdamControl};
use super::policy_args::{PolicyArgs, PolicyOutcome, PolicySample, arguments, max_choices};
use crate::device::DeviceError;
use crate::device::policy::{Learned, Policy, PolicySession, Replay, Walked};
use crate::space::Token;

/// Threads of a block of every kernel of a policy.
const THREADS: u32 = 256;
/// Samples of a launch at most: their traces take the place of children.
const MOST_SAMPLES: usize = 32;

/// A policy on a GPU, with room for some samples.
pub struct CudaPolicy<'a> {
    cuda: &'a Cuda,
    stream: Box<dyn Stream + 'a>,
    /// Samples of a launch at most.
    capacity: usize,
    args: PolicyArgs,
    adam: AdamArgs,
}

impl<'a> CudaPolicy<'a> {
    /// Room for `capacity` samples of a policy, or as many as one launch takes; nothing where its
    /// blocks would take more shared memory than there is, or its weights cannot be numbered.
    pub(super) fn open(
        cuda: &'a Cuda,
        policy: &Policy,
        capacity: usize,
    ) -> Result<Option<CudaPolicy<'a>>, DriverError> {
        let decisions = &policy.decisions;
        let (choices, anchors) = (max_choices(decisions), decisions.max_depth);
        let most = shared_bytes("policy_fwd", policy.hidden, choices, anchors);
        if most > cuda.driver.limits().shared_bytes || i32::try_from(policy.n_weights).is_err() {
            return Ok(None);
        }
        let capacity = capacity.clamp(1, MOST_SAMPLES);
        let mut stream = cuda.driver.stream()?;
        let args = arguments(&mut *stream, policy, capacity)?;
        let n = policy.n_weights;
        let adam = AdamArgs {
            gradient: In::at(args.gradient.0),
            control: In::at(stream.allocate(size_of::<AdamControl>())?),
            weights: Out::at(args.weights.0),
            mean: Out::at(stream.allocate(8 * n)?),
            square: Out::at(stream.allocate(8 * n)?),
            n: n as i64,
        };
        Ok(Some(CudaPolicy {
            cuda,
            stream,
            capacity,
            args,
            adam,
        }))
    }

    fn told<T>(&self, result: Result<T, DriverError>) -> Result<T, DeviceError> {
        result.map_err(|error| self.cuda.error(error))
    }

    fn walk(&mut self, samples: &[PolicySample]) -> Result<(), DriverError> {
        self.args.n_samples = samples.len() as i32;
        let bytes = bytemuck::cast_slice(samples);
        self.stream.write(self.args.samples.0, bytes)?;
        self.launch_policy("policy_fwd", samples.len())
    }

    /// What came of the last walks.
    fn walked(&mut self) -> Result<Vec<Walked>, DriverError> {
        let n = self.args.n_samples as usize;
        let stride = self.args.max_tokens as usize;
        let outcomes: Vec<PolicyOutcome> = fetch(&mut *self.stream, self.args.outcomes.0, n)?;
        let tokens: Vec<i32> = fetch(&mut *self.stream, self.args.tokens.0, n * stride)?;
        let each = outcomes.iter().zip(tokens.chunks_exact(stride));
        let walked = each.map(|(outcome, tokens)| Walked {
            tokens: tokens[..outcome.n_tokens as usize]
                .iter()
                .map(|&token| token as Token)
                .collect(),
            log_probability: outcome.log_probability,
            entropy: outcome.entropy,
        });
        Ok(walked.collect())
    }

    fn add_gradient(&mut self, batch: &[Replay]) -> Result<(), DriverError> {
        let stride = self.args.max_tokens as usize;
        let mut tokens = vec![0i32; batch.len() * stride];
        for (row, replay) in tokens.chunks_exact_mut(stride).zip(batch) {
            let given = replay.tokens.iter().map(|&token| token as i32);
            row.iter_mut()
                .zip(given)
                .for_each(|(to, token)| *to = token);
        }
        let each = batch.iter().map(|replay| PolicySample {
            number: 0,
            log_probability: replay.log_probability,
            entropy: replay.entropy,
            depth: replay.depth as i32,
            n_tokens: replay.tokens.len() as i32,
        });
        let samples: Vec<PolicySample> = each.collect();
        let bytes = bytemuck::cast_slice(&tokens);
        self.stream.write(self.args.tokens.0, bytes)?;
        self.walk(&samples)?;
        self.launch_policy("policy_bwd", samples.len())?;
        let blocks = (self.adam.n as usize).div_ceil(THREADS as usize);
        self.launch_policy("policy_bwd_weights", blocks)
    }

    fn launch_policy(&mut self, kernel: &'static str, blocks: usize) -> Result<(), DriverError> {
        self.launch(kernel, blocks, bytemuck::bytes_of(&self.args).to_vec())
    }

    fn launch(
        &mut self,
        kernel: &'static str,
        blocks: usize,
        args: Vec<u8>,
    ) -> Result<(), DriverError> {
        let PolicyArgs {
            hidden,
            max_choices,
            max_anchors,
            ..
        } = self.args;
        let [hidden, choices, anchors] = [hidden, max_choices, max_anchors].map(|n| n as usize);
        let shared_bytes = shared_bytes(kernel, hidden, choices, anchors) as u32;
        let launched = self.stream.launch(&Launch {
            kernel,
            grid: [blocks as u32, 1, 1],
            threads: THREADS,
            shared_bytes,
            cooperative: false,
            args,
        });
        launched.map_err(|error| error.during(&format!("kernel {kernel}")))
    }
}

impl PolicySession for CudaPolicy<'_> {
    fn write(&mut self, learned: &Learned) -> Result<(), DeviceError> {
        let places = [self.adam.weights.0, self.adam.mean.0, self.adam.square.0];
        let values = [&learned.weights, &learned.mean, &learned.square];
        let mut pairs = places.into_iter().zip(values);
        let written =
            pairs.try_for_each(|(to, values)| self.stream.write(to, bytemuck::cast_slice(values)));
        self.told(written)
    }

    fn read(&mut self) -> Result<Learned, DeviceError> {
        let n = self.adam.n as usize;
        let [weights, mean, square] = [self.adam.weights.0, self.adam.mean.0, self.adam.square.0]
            .map(|from| {
                let values = fetch(&mut *self.stream, from, n);
                self.told(values)
            });
        Ok(Learned {
            weights: weights?,
            mean: mean?,
            square: square?,
        })
    }

    fn sample(&mut self, seed: u64, samples: &[(u64, usize)]) -> Result<Vec<Walked>, DeviceError> {
        let mut walked = Vec::with_capacity(samples.len());
        for some in samples.chunks(self.capacity) {
            let each = some.iter().map(|&(number, depth)| PolicySample {
                number,
                log_probability: 0.0,
                entropy: 0.0,
                depth: depth as i32,
                n_tokens: 0,
            });
            self.args.seed = seed;
            let samples: Vec<PolicySample> = each.collect();
            let some = self.walk(&samples).and_then(|()| self.walked());
            walked.extend(self.told(some)?);
        }
        Ok(walked)
    }

    fn gradient(&mut self, batch: &[Replay]) -> Result<(), DeviceError> {
        for (i, some) in batch.chunks(self.capacity).enumerate() {
            self.args.accumulate = i32::from(i > 0);
            let added = self.add_gradient(some);
            self.told(added)?;
        }
        Ok(())
    }

    fn read_gradient(&mut self) -> Result<Vec<f64>, DeviceError> {
        let n = self.adam.n as usize;
        let gradient = fetch(&mut *self.stream, self.adam.gradient.0, n);
        self.told(gradient)
    }

    fn ascend(&mut self, learning_rate: f64, corrections: [f64; 2]) -> Result<(), DeviceError> {
        let [correction1, correction2] = corrections;
        let control = AdamControl {
            learning_rate,
            correction1,
            correction2,
        };
        let bytes = bytemuck::bytes_of(&control);
        let done = self
            .stream
            .write(self.adam.control.0, bytes)
            .and_then(|()| {
                let blocks = (self.adam.n as usize).div_ceil(THREADS as usize);
                let args = bytemuck::bytes_of(&self.adam).to_vec();
                self.launch("adam_step", blocks, args)
            });
        self.told(done)
    }
}

/// Bytes of shared memory of a block, as the comments above the kernels say; `policy_fwd` takes most.
fn shared_bytes(kernel: &str, hidden: usize, max_choices: usize, max_anchors: usize) -> usize {
    match kernel {
        "policy_fwd" => 8 * (10 * hidden + max_choices.max(2 * max_anchors)) + 4,
        "policy_bwd" => 8 * (10 * hidden + max_choices.max(max_anchors)),
        _ => 0,
    }
}

fn fetch<T: bytemuck::Pod>(
    stream: &mut dyn Stream,
    from: u64,
    n: usize,
) -> Result<Vec<T>, DriverError> {
    let mut values = vec![T::zeroed(); n];
    stream.read(from, bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}
