//! Whether two means differ by more than the spread of what they are means of: Welch's test.

/// Numbers of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation; nothing of fewer than two.
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of some numbers; nothing of none.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>();
        let deviation = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Some(Spread { n, mean, deviation })
    }
}

/// What Welch's test says of two groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// The difference of the means over its standard error; infinite where neither group spreads.
    pub t: f64,
    /// Degrees of freedom; nothing where neither spreads.
    pub degrees: Option<f64>,
    /// How likely so large a difference, either way, is of groups whose means are the same.
    pub p: f64,
}

/// The test; nothing where a group has fewer than two numbers.
pub fn welch(a: &Spread, b: &Spread) -> Option<Welch> {
    let square_error = |of: &Spread| Some(of.deviation?.powi(2) / of.n as f64);
    let (error_a, error_b) = (square_error(a)?, square_error(b)?);
    let (difference, error) = (a.mean - b.mean, error_a + error_b);
    // Where nothing spreads, any difference is more than that.
    if error == 0.0 {
        let differs = difference != 0.0;
        return Some(Welch {
            t: if differs {
                f64::INFINITY.copysign(difference)
            } else {
                0.0
            },
            degrees: None,
            p: if differs { 0.0 } else { 1.0 },
        });
    }
    let part = |error: f64, n: usize| error.powi(2) / (n - 1) as f64;
    let degrees = error.powi(2) / (part(error_a, a.n) + part(error_b, b.n));
    let t = difference / error.sqrt();
    Some(Welch {
        t,
        degrees: Some(degrees),
        p: two_sided(t, degrees),
    })
}

/// How likely Student's t is to be as far from 0, either way.
pub fn two_sided(t: f64, degrees: f64) -> f64 {
    incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + t * t))
}

/// The regularised incomplete beta function, by its continued fraction (Numerical Recipes, section 6.4).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let log_front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    // The fraction is quick on one side of the mean; the other side is its mirror.
    match x < (a + 1.0) / (a + b + 2.0) {
        true => log_front.exp() * fraction(a, b, x) / a,
        false => 1.0 - log_front.exp() * fraction(b, a, 1.0 - x) / b,
    }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in 1..1000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut factor = 1.0;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            factor = c * d;
            value *= factor;
        }
        if (factor - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// The logarithm of the gamma function of a positive number (Lanczos, g = 7).
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let terms = COEFFICIENTS[1..]
        .iter()
        .zip(1..)
        .map(|(c, i)| c / (x + f64::from(i)));
    let sum = COEFFICIENTS[0] + terms.sum::<f64>();
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against SciPy's `2 * scipy.stats.t.sf(t, degrees)`, and what has a closed form: of one degree
    /// 1 - 2/pi atan(t), of two 1 - t / sqrt(2 + t^2).
    #[test]
    fn students_t_has_its_known_values() {
        for t in [0.0, 0.3, 1.0, 2.5, 12.706, 100.0] {
            let one = 1.0 - 2.0 / std::f64::consts::PI * f64::atan(t);
            let two = 1.0 - t / (2.0 + t * t).sqrt();
            for (degrees, expected) in [(1.0, one), (2.0, two)] {
                let found = two_sided(t, degrees);
                assert!((found - expected).abs() < 1e-12, "{t}, {degrees}: {found}");
                assert_eq!(found, two_sided(-t, degrees));
            }
        }
        for (t, degrees, expected) in [
            (2.228_138_852, 10.0, 0.05),
            (2.776_445_105, 4.0, 0.05),
            (1.959_963_985, 1e9, 0.05),
            (3.169_272_673, 10.0, 0.01),
        ] {
            let found = two_sided(t, degrees);
            assert!((found - expected).abs() < 1e-7, "{t}, {degrees}: {found}");
        }
    }

    /// The degrees of freedom and the statistic of a worked example: 1, 2, 3 against 4, 6, 8, 10.
    #[test]
    fn welchs_test_is_that_of_the_formula() {
        let a = Spread::of(&[1.0, 2.0, 3.0]).unwrap();
        let b = Spread::of(&[4.0, 6.0, 8.0, 10.0]).unwrap();
        assert_eq!((a.mean, a.deviation), (2.0, Some(1.0)));
        let (error_a, error_b) = (1.0 / 3.0, 20.0 / 3.0 / 4.0);
        let found = welch(&a, &b).unwrap();
        assert!((found.t + 5.0 / f64::sqrt(error_a + error_b)).abs() < 1e-12);
        let degrees = f64::powi(error_a + error_b, 2)
            / (f64::powi(error_a, 2) / 2.0 + f64::powi(error_b, 2) / 3.0);
        assert!((found.degrees.unwrap() - degrees).abs() < 1e-12);
        assert!((0.01..0.05).contains(&found.p), "{found:?}");
    }

    #[test]
    fn groups_that_do_not_spread_or_are_alone() {
        let of = |values: &[f64]| Spread::of(values).unwrap();
        let same = welch(&of(&[1.0, 1.0]), &of(&[1.0, 1.0])).unwrap();
        assert_eq!((same.t, same.p), (0.0, 1.0));
        let other = welch(&of(&[1.0, 1.0]), &of(&[2.0, 2.0])).unwrap();
        assert_eq!((other.t, other.p), (f64::NEG_INFINITY, 0.0));
        assert_eq!(welch(&of(&[1.0]), &of(&[2.0, 3.0])), None);
        assert_eq!(Spread::of(&[]), None);
    }
}
