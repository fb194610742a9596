//! What the kernels of a policy take: tables of its decisions and tensors, and room for its traces.

use super::declare::{In, Out, structs};
use super::driver::{DriverError, Stream};
use crate::device::policy::{Policy, Role};
use crate::space::{DecisionKind, DecisionStep, Decisions, State};

structs! {
    /// A kind of choice: among how many, and where its tensors begin.
    struct PolicyKind {
        n_choices: i32,
        embedding: i32,
        head: i32,
        bias: i32,
    }

    /// A state of the walk.
    struct PolicyState {
        kind: i32,
        next: i32,
    }

    /// An architecture to walk.
    struct PolicySample {
        number: u64,
        log_probability: f64,
        entropy: f64,
        depth: i32,
        n_tokens: i32,
    }

    /// What came of a walk.
    struct PolicyOutcome {
        log_probability: f64,
        entropy: f64,
        n_steps: i32,
        n_tokens: i32,
    }

    /// A step of a walk; the host never looks at one.
    struct PolicyStep {
        kind: i32,
        token: i32,
        anchor: i32,
        input: i32,
        choice: i32,
    }

    /// A tensor among the weights.
    struct PolicyTensor {
        first: i32,
        n_columns: i32,
        role: i32,
        index: i32,
    }

    /// Of `policy_fwd`, `policy_bwd` and `policy_bwd_weights`.
    struct PolicyArgs {
        weights: In<f64>,
        kinds: In<PolicyKind>,
        states: In<PolicyState>,
        next: In<i32>,
        tensors: In<PolicyTensor>,
        samples: In<PolicySample>,
        outcomes: Out<PolicyOutcome>,
        tokens: Out<i32>,
        steps: Out<PolicyStep>,
        inputs: Out<f64>,
        layers: Out<f64>,
        log_p: Out<f64>,
        anchors: Out<f64>,
        dinputs: Out<f64>,
        dgates: Out<f64>,
        dlogits: Out<f64>,
        danchors: Out<f64>,
        dv: Out<f64>,
        gradient: Out<f64>,
        seed: u64,
        hidden: i32,
        n_samples: i32,
        max_steps: i32,
        max_tokens: i32,
        max_anchors: i32,
        max_choices: i32,
        first_state: i32,
        has_anchors: i32,
        n_tensors: i32,
        n_weights: i32,
        accumulate: i32,
        lstm: [i32; 2],
        first_input: i32,
        attention: i32,
        reserved: i32,
    }
}

/// The arguments of a policy's kernels, all but those that differ from launch to launch.
pub fn arguments(
    stream: &mut dyn Stream,
    policy: &Policy,
    capacity: usize,
) -> Result<PolicyArgs, DriverError> {
    let (hidden, decisions) = (policy.hidden, &policy.decisions);
    let depth = decisions.max_depth;
    let max_steps = decisions.most_steps();
    let max_tokens = (max_steps + depth * (depth - 1) / 2).max(1);
    let max_choices = max_choices(decisions);
    let begin = |role: Role| {
        let tensor = policy.tensors.iter().find(|tensor| tensor.0 == role);
        tensor.expect("a policy has every tensor").1 as i32
    };
    let kind = |(i, kind): (usize, &DecisionKind)| PolicyKind {
        n_choices: kind.n_choices as i32,
        embedding: begin(Role::Embedding(i)),
        head: begin(Role::Head(i)),
        bias: begin(Role::HeadBias(i)),
    };
    let kinds: Vec<PolicyKind> = decisions.kinds.iter().enumerate().map(kind).collect();
    let state = |state: &State| PolicyState {
        kind: match state.step {
            DecisionStep::Choice(kind) => kind as i32,
            DecisionStep::Anchor => -1,
            DecisionStep::End => -2,
        },
        next: state.next as i32,
    };
    let states: Vec<PolicyState> = decisions.states.iter().map(state).collect();
    let next: Vec<i32> = decisions.next.iter().map(|&n| n as i32).collect();
    let tensor = |&(role, first): &(Role, usize)| tensor(role, first, policy);
    let tensors: Vec<PolicyTensor> = policy.tensors.iter().map(tensor).collect();
    let steps = capacity * max_steps;
    let tokens = capacity * max_tokens;
    let units = 8 * hidden;
    Ok(PolicyArgs {
        weights: In::at(stream.allocate(8 * policy.n_weights)?),
        kinds: In::at(upload(stream, &kinds)?),
        states: In::at(upload(stream, &states)?),
        next: In::at(upload(stream, &next)?),
        tensors: In::at(upload(stream, &tensors)?),
        samples: In::at(stream.allocate(capacity * size_of::<PolicySample>())?),
        outcomes: Out::at(stream.allocate(capacity * size_of::<PolicyOutcome>())?),
        tokens: Out::at(stream.allocate(4 * tokens)?),
        steps: Out::at(stream.allocate(steps * size_of::<PolicyStep>())?),
        inputs: Out::at(stream.allocate(steps * units)?),
        layers: Out::at(stream.allocate(steps * 2 * 6 * units)?),
        log_p: Out::at(stream.allocate(8 * tokens * max_choices)?),
        anchors: Out::at(stream.allocate(capacity * depth * 3 * units)?),
        dinputs: Out::at(stream.allocate(steps * units)?),
        dgates: Out::at(stream.allocate(steps * 2 * 4 * units)?),
        dlogits: Out::at(stream.allocate(8 * tokens * max_choices)?),
        danchors: Out::at(stream.allocate(capacity * depth * 3 * units)?),
        dv: Out::at(stream.allocate(capacity * units)?),
        gradient: Out::at(stream.allocate(8 * policy.n_weights)?),
        seed: 0,
        hidden: hidden as i32,
        n_samples: 0,
        max_steps: max_steps as i32,
        max_tokens: max_tokens as i32,
        max_anchors: depth as i32,
        max_choices: max_choices as i32,
        first_state: decisions.first as i32,
        has_anchors: i32::from(decisions.has_anchors),
        n_tensors: tensors.len() as i32,
        n_weights: policy.n_weights as i32,
        accumulate: 0,
        lstm: [0, 1].map(|layer| begin(Role::LstmInput(layer))),
        first_input: begin(Role::FirstInput),
        attention: begin(Role::AnchorPrevious),
        reserved: 0,
    })
}

/// Choices of a decision at most; an anchor's bit has two.
pub fn max_choices(decisions: &Decisions) -> usize {
    let choices = decisions.kinds.iter().map(|kind| kind.n_choices);
    choices.fold(2, usize::max)
}

/// A tensor as kernels/policy.cuh numbers its role.
fn tensor(role: Role, first: usize, policy: &Policy) -> PolicyTensor {
    let h = policy.hidden;
    let n_choices = |kind: usize| policy.decisions.kinds[kind].n_choices;
    let (role, index, n_columns) = match role {
        Role::LstmInput(layer) => (0, layer, 4 * h),
        Role::LstmHidden(layer) => (1, layer, 4 * h),
        Role::LstmBias(layer) => (2, layer, 4 * h),
        Role::FirstInput => (3, 0, h),
        Role::AnchorPrevious => (4, 0, h),
        Role::AnchorCurrent => (5, 0, h),
        Role::AnchorV => (6, 0, h),
        Role::Embedding(kind) => (7, kind, h),
        Role::Head(kind) => (8, kind, n_choices(kind)),
        Role::HeadBias(kind) => (9, kind, n_choices(kind)),
    };
    PolicyTensor {
        first: first as i32,
        n_columns: n_columns as i32,
        role,
        index: index as i32,
    }
}

fn upload<T: bytemuck::Pod>(stream: &mut dyn Stream, values: &[T]) -> Result<u64, DriverError> {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let address = stream.allocate(bytes.len().max(1))?;
    stream.write(address, bytes)?;
    Ok(address)
}
