//! The walk of a space as a table, for devices that walk it by themselves.

use super::{ConvSpace, Decision, Kind, Token, Walk};

/// The decisions of a space as states: which is made in each, and what follows its tokens. The
/// walk ends after as many anchors as the architecture is deep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The first is where a walk begins.
    pub states: Vec<State>,
    /// Numbers of following states.
    pub next: Vec<usize>,
}

/// A state of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The kind of choice, or `None` for an anchor.
    pub kind: Option<usize>,
    /// Place in [`Program::next`] of what follows token 0; other tokens of a choice come after it.
    pub next: usize,
}

impl Program {
    /// The program of a space.
    pub fn new(space: &ConvSpace) -> Program {
        let mut program = Program::default();
        let mut walks = vec![space.walk(usize::MAX)];
        while let Some(walk) = walks.get(program.states.len()).cloned() {
            let decision = walk.decision().expect("a walk without a depth has no end");
            let (kind, answers) = match decision {
                Decision::Choice { kind } => {
                    let n_choices = space.kinds()[kind].n_choices as Token;
                    (
                        Some(kind),
                        (0..n_choices).map(|token| vec![token]).collect(),
                    )
                }
                Decision::Anchor { n_candidates } => (None, vec![vec![0; n_candidates]]),
            };
            let next = program.next.len();
            program.states.push(State { kind, next });
            for tokens in answers {
                let mut after = walk.clone();
                after.take(&tokens);
                let known = walks.iter().position(|walk| walk.place() == after.place());
                program.next.push(known.unwrap_or_else(|| {
                    walks.push(after);
                    walks.len() - 1
                }));
            }
        }
        program
    }

    /// Steps that an architecture of `depth` layers takes at most.
    pub fn most_steps(&self, kinds: &[Kind], depth: usize) -> usize {
        let longest = (0..self.states.len()).map(|state| self.steps_to_anchor(kinds, state));
        depth * longest.max().unwrap_or(0)
    }

    /// Steps from a state to the end of its layer, at most.
    fn steps_to_anchor(&self, kinds: &[Kind], state: usize) -> usize {
        let State { kind, next } = self.states[state];
        let Some(kind) = kind else { return 1 };
        let following = &self.next[next..next + kinds[kind].n_choices];
        let rest = following
            .iter()
            .map(|&state| self.steps_to_anchor(kinds, state));
        1 + rest.max().unwrap_or(0)
    }
}

impl Walk<'_> {
    /// What decides all that follows, but for the number of candidates: whether this is the first
    /// layer, and what it has yet to choose.
    fn place(&self) -> (usize, &[usize]) {
        (self.layer().min(2), self.choices())
    }
}
