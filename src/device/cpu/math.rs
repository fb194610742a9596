//! Functions of single floats without branches, so that loops over them are vectorised. Written
//! without fused multiplication, so that every instruction set gives the same bits.

/// exp(x), within 2 units in the last place; 0 and infinity beyond what a float holds, NaN for NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond these the result is 0 or infinite; `clamp` keeps NaN.
    let clamped = x.clamp(-104.0, 89.0);
    // Adding 1.5 2^23 rounds to a whole number, which the lowest bits of the sum then hold.
    const ROUND: f32 = 12_582_912.0;
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first of few bits, so that n times it is exact.
    let r = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    // Taylor's series up to r^7 / 7!: |r| is at most ln(2) / 2.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // 2^n in two factors, as it may be too small or too large for one.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    p * power(half) * power(n - half)
}

/// 1 / (1 + exp(-x)).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// tanh(x), within 4 units in the last place: a rational function that is almost 1 at the end of its
/// range (the coefficients are those of Eigen's `generic_fast_tanh_float`).
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let x = x.clamp(-7.905_311, 7.905_311); // keeps NaN
    let s = x * x;
    let p = -2.760_768_5e-16;
    let p = p * s + 2.000_188e-13;
    let p = p * s - 8.604_672e-11;
    let p = p * s + 5.122_297e-8;
    let p = p * s + 1.485_722_4e-5;
    let p = p * s + 6.372_619e-4;
    let p = p * s + 4.893_524_6e-3;
    let q = 1.198_258_4e-6;
    let q = q * s + 1.185_347_1e-4;
    let q = q * s + 2.268_434_6e-3;
    let q = q * s + 4.893_525e-3;
    x * p / q
}

/// Angles up to which [`sin`] and [`cos`] are exact to their last bits: what [`reduced`] subtracts is
/// then a product without rounding.
pub const LARGEST_ANGLE: f32 = 8192.0;

/// sin(x), within 1e-7, of an angle of at most [`LARGEST_ANGLE`]; NaN for NaN.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    let (quarter, r) = reduced(x);
    of_quarter(quarter, r)
}

/// cos(x), as [`sin`].
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    let (quarter, r) = reduced(x);
    of_quarter(quarter.wrapping_add(1), r)
}

/// An angle as quarters of a turn and what is left, in plus or minus pi / 4 (Cody and Waite).
#[inline(always)]
fn reduced(x: f32) -> (i32, f32) {
    const ROUND: f32 = 12_582_912.0; // as in `exp`
    let shifted = x * std::f32::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    // pi / 2 in parts of few bits (those of Cephes' `sinf`, doubled).
    let r = ((x - n * 1.570_312_5) - n * 4.837_513e-4) - n * 7.549_79e-8;
    (shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32, r)
}

/// sin(r + quarter * pi / 2), by the minimax polynomials of Cephes' `sinf` and `cosf`.
#[inline(always)]
fn of_quarter(quarter: i32, r: f32) -> f32 {
    let s = r * r;
    let sin = -1.951_529_6e-4;
    let sin = sin * s + 8.332_161e-3;
    let sin = sin * s - 1.666_665_5e-1;
    let sin = sin * s * r + r;
    let cos = 2.443_315_7e-5;
    let cos = cos * s - 1.388_731_6e-3;
    let cos = cos * s + 4.166_664_6e-2;
    let cos = cos * s * s - 0.5 * s + 1.0;
    let value = if quarter & 1 == 0 { sin } else { cos };
    if quarter & 2 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative distance of `f` from `exact` over a range.
    fn apart(f: fn(f32) -> f32, exact: fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let n = 200_001;
        let x = |i: i32| low + (high - low) * i as f32 / (n - 1) as f32;
        let of = |x: f32| {
            let exact = exact(f64::from(x));
            (f64::from(f(x)) - exact).abs() / exact.abs().max(f64::from(f32::MIN_POSITIVE))
        };
        (0..n).map(|i| of(x(i))).fold(0.0, f64::max)
    }

    #[test]
    fn close_to_the_exact_functions() {
        assert!(apart(exp, f64::exp, -87.0, 88.0) < 2.5e-7);
        assert!(apart(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -80.0, 80.0) < 4e-7);
        assert!(apart(tanh, f64::tanh, -20.0, 20.0) < 4.8e-7);
        assert!(apart(tanh, f64::tanh, -1e-3, 1e-3) < 4.8e-7);
    }

    #[test]
    fn sine_and_cosine_are_close_where_they_are_offered() {
        for range in [1.0, 10.0, 300.0, LARGEST_ANGLE] {
            for i in 0..200_001 {
                let x = range * (i as f32 / 100_000.0 - 1.0);
                let exact = f64::from(x).sin_cos();
                let apart = |got: f32, exact: f64| (f64::from(got) - exact).abs();
                assert!(apart(sin(x), exact.0) < 1e-7, "sin {x}");
                assert!(apart(cos(x), exact.1) < 1e-7, "cos {x}");
            }
        }
        assert!(sin(f32::NAN).is_nan() && cos(f32::NAN).is_nan());
    }

    #[test]
    fn what_is_not_finite() {
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(1000.0), f32::INFINITY);
        for f in [exp, sigmoid, tanh] {
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        // The last float below 1, and never more than 1.
        assert_eq!(tanh(f32::INFINITY), 1.0 - f32::EPSILON / 2.0);
        assert_eq!(tanh(f32::NEG_INFINITY), f32::EPSILON / 2.0 - 1.0);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
    }
}
