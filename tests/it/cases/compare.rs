//! What a case gave on a device, and whether two devices agree.

use nas_engine::device::Convolution;

/// How far a device may be from the reference, relative to the largest value of an output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// With plain sums.
    pub direct: f64,
    /// Where a convolution may use transforms.
    pub transform: f64,
    /// Allowed besides, for results that are 0 but for rounding.
    pub absolute: f64,
}

impl Tolerance {
    /// The same relative bound however a convolution is summed.
    pub fn new(relative: f64) -> Tolerance {
        Tolerance {
            direct: relative,
            transform: relative,
            absolute: 0.0,
        }
    }

    /// Another bound for transforms.
    pub fn transform(self, transform: f64) -> Tolerance {
        Tolerance { transform, ..self }
    }

    /// An absolute bound besides.
    pub fn absolute(self, absolute: f64) -> Tolerance {
        Tolerance { absolute, ..self }
    }

    /// The relative bound of a device.
    pub fn relative(&self, convolution: Convolution) -> f64 {
        match convolution {
            Convolution::Auto => self.transform,
            Convolution::Direct => self.direct,
        }
    }
}

/// One buffer, or a part of it.
#[derive(Clone, Debug)]
pub struct Output {
    /// Which.
    pub name: String,
    /// Its sizes, for coordinates.
    pub dims: Vec<usize>,
    /// The values in row order.
    pub values: Vec<f64>,
}

impl Output {
    /// A vector.
    pub fn new(name: String, values: Vec<f64>) -> Output {
        Output {
            name,
            dims: vec![values.len()],
            values,
        }
    }

    fn coordinates(&self, mut index: usize) -> Vec<usize> {
        let mut coordinates = vec![];
        for &size in self.dims.iter().rev() {
            coordinates.push(index % size);
            index /= size;
        }
        coordinates.reverse();
        coordinates
    }
}

/// Everything that a case gave.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// The case: operation, shapes, batch.
    pub label: String,
    /// Seed of its data.
    pub seed: u64,
    /// In the order of the case.
    pub list: Vec<Output>,
}

impl Outputs {
    /// An output by its name.
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        let output = self.list.iter().find(|output| output.name == name)?;
        Some(&output.values)
    }
}

/// Whether every value of `got` is as close to `expected` as `tolerance` allows. NaN is close to
/// nothing.
///
/// # Errors
/// A sentence that names the case, the seed, the output, the coordinates of its worst value, and
/// both values.
pub fn compare(
    expected: &Outputs,
    got: &Outputs,
    tolerance: &Tolerance,
    convolution: Convolution,
) -> Result<(), String> {
    let relative = tolerance.relative(convolution);
    compare_by(expected, got, |expected, _| {
        let largest = expected.values.iter().fold(0.0, |a: f64, x| a.max(x.abs()));
        if largest.is_finite() {
            relative * largest + tolerance.absolute
        } else {
            0.0
        }
    })
}

/// Whether every value has the same bits.
///
/// # Errors
/// As [`compare`].
pub fn same_bits(first: &Outputs, second: &Outputs) -> Result<(), String> {
    let bits =
        |output: &Output| -> Vec<u64> { output.values.iter().map(|x| x.to_bits()).collect() };
    compare_by(first, second, |first, second| {
        if bits(first) == bits(second) {
            f64::INFINITY
        } else {
            -1.0
        }
    })
}

/// Compares with the difference that `allowed` gives for a pair of outputs.
fn compare_by(
    expected: &Outputs,
    got: &Outputs,
    allowed: impl Fn(&Output, &Output) -> f64,
) -> Result<(), String> {
    let names = |outputs: &Outputs| -> Vec<(String, Vec<usize>)> {
        let list = outputs.list.iter();
        list.map(|o| (o.name.clone(), o.dims.clone())).collect()
    };
    if names(expected) != names(got) {
        let (a, b) = (names(expected), names(got));
        return Err(format!("{}: outputs {a:?}, got {b:?}", expected.label));
    }
    for (output, other) in expected.list.iter().zip(&got.list) {
        let allowed = allowed(output, other);
        let pairs = output.values.iter().zip(&other.values);
        let differences = pairs.map(|(x, y)| {
            let difference = (x - y).abs();
            // Equal infinities differ by nothing; a NaN by more than anything.
            match (difference.is_nan(), x == y) {
                (_, true) => 0.0,
                (true, false) => f64::INFINITY,
                (false, false) => difference,
            }
        });
        let worst = differences.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((index, difference)) = worst.filter(|&(_, difference)| difference > allowed)
        else {
            continue;
        };
        return Err(format!(
            "{}, seed {}: {} {:?} at {:?} is {:e}, expected {:e}: {difference:e} apart, allowed \
             {allowed:e}",
            expected.label,
            expected.seed,
            output.name,
            output.dims,
            output.coordinates(index),
            other.values[index],
            output.values[index],
        ));
    }
    Ok(())
}
