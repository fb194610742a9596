//! The two printed cells, written out by hand, over numbers that carry one derivative: layers of
//! them over a window, and the loss's slope along any direction. It shares nothing with the engine's
//! trees and instructions.

use std::ops::{Add, Mul};

use super::stack::Sizes;

/// A value and its derivative along one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dual {
    pub value: f64,
    pub slope: f64,
}

impl Dual {
    /// A value that the direction does not move.
    pub fn constant(value: f64) -> Dual {
        Dual { value, slope: 0.0 }
    }

    fn through(self, value: f64, slope: f64) -> Dual {
        Dual {
            value,
            slope: slope * self.slope,
        }
    }

    fn tanh(self) -> Dual {
        let cosh = self.value.cosh();
        self.through(self.value.tanh(), 1.0 / (cosh * cosh))
    }

    fn sigmoid(self) -> Dual {
        let e = (-self.value).exp();
        self.through(1.0 / (1.0 + e), e / ((1.0 + e) * (1.0 + e)))
    }

    fn relu(self) -> Dual {
        match self.value > 0.0 {
            true => self,
            false => Dual::constant(0.0),
        }
    }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, other: Dual) -> Dual {
        Dual {
            value: self.value + other.value,
            slope: self.slope + other.slope,
        }
    }
}

impl Mul for Dual {
    type Output = Dual;
    fn mul(self, other: Dual) -> Dual {
        Dual {
            value: self.value * other.value,
            slope: self.slope * other.value + self.value * other.slope,
        }
    }
}

/// `h_t` and `c_t` of one unit, from its splits of `W_x x` and `W_h h`, and from `c_(t-1)`.
pub type Formula = fn(&[Dual], &[Dual], Dual) -> (Dual, Dual);

/// The worked example of section 3.4: W1 x and W3 x are `x[0]` and `x[1]`, W2 h and W4 h are `m[0]`
/// and `m[1]`.
pub fn worked(x: &[Dual], m: &[Dual], c: Dual) -> (Dual, Dual) {
    let a0 = (x[0] + m[0]).tanh();
    let a1 = (x[1] * m[1]).relu();
    let a0 = (a0 + c).relu();
    ((a0 * a1).sigmoid(), x[1] * m[1])
}

/// The cell of appendix A, as it was published.
pub fn published(x: &[Dual], m: &[Dual], c: Dual) -> (Dual, Dual) {
    let l0 = (x[0] + m[0]).sigmoid();
    let l1 = (x[1] + m[1]).relu();
    let l2 = (x[2] + m[2]).sigmoid();
    let l3 = (x[3] * m[3]).relu();
    let l4 = (x[4] + m[4]).tanh();
    let l5 = (x[5] + m[5]).sigmoid();
    let l6 = (x[6] + m[6]).tanh();
    let l7 = (x[7] + m[7]).sigmoid();
    let n8 = (l0 * l1).tanh();
    let n9 = (l2 + l3).tanh();
    let n10 = (l4 * l5).tanh();
    let n11 = (l6 + l7).sigmoid();
    let n8 = (n8 + c).tanh();
    let n12 = n8 * n9;
    let n13 = (n10 + n11).tanh();
    ((n12 * n13).tanh(), n12)
}

/// h and c of a layer, `[t + 1][b][h]`, the state before the window first.
pub type States = Vec<[Vec<Dual>; 2]>;

/// Every layer's h and c over a window. `weights` holds W `[leaves][h][k]` and U `[leaves][h][h]` of each
/// layer in order, `input` is `[t][b][k]`, `before` the states of the window before, if there was one.
pub fn window(
    (formula, leaves): (Formula, usize),
    sizes: &Sizes,
    weights: &[Dual],
    input: &[Dual],
    before: Option<&States>,
) -> States {
    let (n, hidden) = (sizes.rows * sizes.hidden, sizes.hidden);
    let mut left = weights;
    let mut below = input.to_vec();
    let mut states: States = vec![];
    for layer in 0..sizes.layers {
        let k = below.len() / (sizes.steps * sizes.rows);
        let (w, after) = left.split_at(leaves * hidden * k);
        let (u, after) = after.split_at(leaves * hidden * hidden);
        left = after;
        let first = |which: usize| match before {
            // No gradient goes from one window into the one before.
            Some(states) => {
                let last = &states[layer][which][sizes.steps * n..];
                last.iter().map(|x| Dual::constant(x.value)).collect()
            }
            None => vec![Dual::default(); n],
        };
        let (mut h, mut c): (Vec<Dual>, Vec<Dual>) = (first(0), first(1));
        h.resize((sizes.steps + 1) * n, Dual::default());
        c.resize(h.len(), Dual::default());
        for place in 0..sizes.steps * sizes.rows {
            for j in 0..hidden {
                let x = &below[place * k..][..k];
                let last = &h[place * hidden..][..hidden];
                let split = |matrix: &[Dual], vector: &[Dual]| -> Vec<Dual> {
                    let row = |i: usize| &matrix[(i * hidden + j) * vector.len()..];
                    (0..leaves).map(|i| dot(row(i), vector)).collect()
                };
                let state = c[place * hidden + j];
                let (h_t, c_t) = formula(&split(w, x), &split(u, last), state);
                // The next step of this row lies behind the other rows of this step.
                h[(place + sizes.rows) * hidden + j] = h_t;
                c[(place + sizes.rows) * hidden + j] = c_t;
            }
        }
        below = h[n..].to_vec();
        states.push([h, c]);
    }
    assert!(left.is_empty());
    states
}

/// The sum of `a[i] b[i]`, as far as `b` goes.
pub fn dot(a: &[Dual], b: &[Dual]) -> Dual {
    let products = a.iter().zip(b).map(|(&a, &b)| a * b);
    products.fold(Dual::default(), |sum, product| sum + product)
}
