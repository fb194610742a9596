//! The decisions of a space as a table of states: all that a controller, on a host or on a device,
//! knows of it.

use super::Token;
use crate::rng::Rng;

/// A kind of choice: one softmax head and one embedding, shared by all layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionKind {
    /// What is chosen, for messages.
    pub name: &'static str,
    /// Among how many.
    pub n_choices: usize,
}

/// What is to be decided next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// One token: a choice of this kind, an index into the kinds.
    Choice {
        /// Index of the kind.
        kind: usize,
    },
    /// The end of a layer: a bit for each earlier layer, lowest first, whether it is read. The
    /// first layer's has none, and yet is a step.
    Anchor {
        /// Number of earlier layers.
        n_candidates: usize,
    },
}

impl Decision {
    /// Tokens that answer it.
    pub fn n_tokens(&self) -> usize {
        match *self {
            Decision::Choice { .. } => 1,
            Decision::Anchor { n_candidates } => n_candidates,
        }
    }
}

/// A place in a sequence of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What happens here.
    pub step: DecisionStep,
    /// Place in [`Decisions::next`] of what follows token 0; the other tokens of a choice come
    /// after it. Nothing follows an end.
    pub next: usize,
}

/// What happens at a place in a sequence of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionStep {
    /// A choice of this kind, an index into the kinds.
    Choice(usize),
    /// The end of a layer, which decides what it reads and may have layers after it.
    Anchor,
    /// The end of all, which decides nothing: where there are no layers, all stands in the first.
    End,
}

/// The decisions of a space, in whatever order its tokens lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decisions {
    /// The kinds of choice there are.
    pub kinds: Vec<DecisionKind>,
    /// Every place.
    pub states: Vec<State>,
    /// Numbers of the states that follow.
    pub next: Vec<usize>,
    /// The state that all begins with.
    pub first: usize,
    /// Whether a layer's anchor decides on each earlier layer; without, it decides nothing.
    pub has_anchors: bool,
    /// Layers of an architecture at most.
    pub max_depth: usize,
}

impl Decisions {
    /// Of these kinds, without states yet.
    pub(super) fn new(kinds: Vec<DecisionKind>, has_anchors: bool, max_depth: usize) -> Decisions {
        Decisions {
            kinds,
            states: vec![],
            next: vec![],
            first: 0,
            has_anchors,
            max_depth,
        }
    }

    /// Adds an end.
    pub(super) fn add_end(&mut self) -> usize {
        self.states.push(State {
            step: DecisionStep::End,
            next: self.next.len(),
        });
        self.states.len() - 1
    }

    /// Adds an anchor, which is followed by itself until [`Decisions::follow`] says more.
    pub(super) fn add_anchor(&mut self) -> usize {
        let anchor = self.states.len();
        self.states.push(State {
            step: DecisionStep::Anchor,
            next: self.next.len(),
        });
        self.next.push(anchor);
        anchor
    }

    /// Says what follows an anchor.
    pub(super) fn follow(&mut self, anchor: usize, state: usize) {
        let place = self.states[anchor].next;
        self.next[place] = state;
    }

    /// Adds a choice, each of whose tokens leads to a state of its own.
    pub(super) fn add_choice(&mut self, kind: usize, next: &[usize]) -> usize {
        debug_assert_eq!(next.len(), self.kinds[kind].n_choices);
        self.states.push(State {
            step: DecisionStep::Choice(kind),
            next: self.next.len(),
        });
        self.next.extend(next);
        self.states.len() - 1
    }

    /// Adds choices one after the other, the last followed by a state; the first of them, or that
    /// state where there are none.
    pub(super) fn add_choices(&mut self, kinds: &[usize], then: usize) -> usize {
        kinds.iter().rev().fold(then, |then, &kind| {
            self.add_choice(kind, &vec![then; self.kinds[kind].n_choices])
        })
    }

    /// The decisions of an architecture of `depth` layers.
    pub fn walk(&self, depth: usize) -> Walk<'_> {
        Walk {
            decisions: self,
            depth,
            layer: 1,
            state: self.first,
        }
    }

    /// The tokens of an architecture of this depth drawn uniformly from `rng`.
    pub fn draw(&self, depth: usize, rng: &mut Rng) -> Vec<Token> {
        let mut walk = self.walk(depth);
        let mut tokens = Vec::new();
        while let Some(decision) = walk.decision() {
            let drawn = tokens.len();
            match decision {
                Decision::Choice { kind } => {
                    tokens.push(rng.below(self.kinds[kind].n_choices as Token));
                }
                Decision::Anchor { n_candidates } => {
                    tokens.extend((0..n_candidates).map(|_| rng.below(2)));
                }
            }
            walk.take(&tokens[drawn..]);
        }
        tokens
    }

    /// Layers that these tokens decide; 1 where there are none but an end.
    ///
    /// # Panics
    /// If they are not the tokens of an architecture; decoding them tells.
    pub fn depth_of_tokens(&self, tokens: &[Token]) -> usize {
        let mut walk = self.walk(usize::MAX);
        let mut rest = tokens;
        loop {
            let Some(decision) = walk.decision() else {
                assert!(rest.is_empty(), "tokens end with their last decision");
                return walk.layer;
            };
            let (taken, left) = rest.split_at(decision.n_tokens());
            walk.take(taken);
            rest = left;
            if rest.is_empty() && matches!(decision, Decision::Anchor { .. }) {
                return walk.layer - 1;
            }
        }
    }

    /// Steps that an architecture takes at most.
    pub fn most_steps(&self) -> usize {
        // Of each state to the end of its layer; what follows a choice was added before it.
        let mut steps: Vec<usize> = Vec::with_capacity(self.states.len());
        for &State { step, next } in &self.states {
            let (own, n_choices) = match step {
                DecisionStep::Choice(kind) => (1, self.kinds[kind].n_choices),
                DecisionStep::Anchor => (1, 0),
                DecisionStep::End => (0, 0),
            };
            let following = &self.next[next..next + n_choices];
            let longest = following.iter().map(|&state| steps[state]).max();
            steps.push(own + longest.unwrap_or(0));
        }
        self.max_depth * steps.into_iter().max().unwrap_or(0)
    }
}

/// Where a sequence of decisions stands: asks for one, takes its tokens, asks for the next.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    decisions: &'a Decisions,
    depth: usize,
    /// The layer being decided, from 1.
    layer: usize,
    state: usize,
}

impl Walk<'_> {
    /// The decision to be made now; `None` at the end.
    pub fn decision(&self) -> Option<Decision> {
        // paper P1.5
        if self.layer > self.depth {
            return None;
        }
        match self.decisions.states[self.state].step {
            DecisionStep::Choice(kind) => Some(Decision::Choice { kind }),
            DecisionStep::Anchor if self.decisions.has_anchors => Some(Decision::Anchor {
                n_candidates: self.layer - 1,
            }),
            DecisionStep::Anchor => Some(Decision::Anchor { n_candidates: 0 }),
            DecisionStep::End => None,
        }
    }

    /// The kind of the choice to be made now, where it is one.
    pub(super) fn choice(&self) -> Option<&DecisionKind> {
        match self.decision()? {
            Decision::Choice { kind } => Some(&self.decisions.kinds[kind]),
            Decision::Anchor { .. } => None,
        }
    }

    /// Takes the tokens of the decision: one for a choice, a bit for each candidate of an anchor.
    ///
    /// # Panics
    /// If the tokens are not such ones, or no decision is left.
    pub fn take(&mut self, tokens: &[Token]) {
        let next = self.decisions.states[self.state].next;
        let choice = match self.decision() {
            Some(Decision::Choice { kind }) => {
                let [token] = *tokens else {
                    panic!("a choice takes one token, not {}", tokens.len());
                };
                let n_choices = self.decisions.kinds[kind].n_choices;
                assert!(
                    (token as usize) < n_choices,
                    "choice {token} of {n_choices}"
                );
                token as usize
            }
            Some(Decision::Anchor { n_candidates }) => {
                assert_eq!(
                    tokens.len(),
                    n_candidates,
                    "an anchor takes a bit a candidate"
                );
                assert!(tokens.iter().all(|&bit| bit < 2), "an anchor takes bits");
                self.layer += 1;
                0
            }
            None => panic!("no decision is left"),
        };
        self.state = self.decisions.next[next + choice];
    }

    /// The layer (block, where they are on) being decided, from 1.
    pub(super) fn layer(&self) -> usize {
        self.layer
    }
}
