//! Tensors that go into and come out of an exported model, and what is asked of it in a check.

/// A tensor with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Values,
}

/// Values in the order of C.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Bytes.
    U8(Vec<u8>),
    /// Whole numbers.
    I64(Vec<i64>),
    /// Numbers.
    F32(Vec<f32>),
}

impl Tensor {
    /// Numbers.
    pub fn floats(shape: &[usize], values: Vec<f32>) -> Tensor {
        Tensor {
            shape: shape.to_vec(),
            values: Values::F32(values),
        }
    }

    /// Its bytes, little-endian.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.values {
            Values::U8(values) => values.clone(),
            Values::I64(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::F32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// NumPy's name of its type.
    pub fn kind(&self) -> &'static str {
        match &self.values {
            Values::U8(_) => "uint8",
            Values::I64(_) => "int64",
            Values::F32(_) => "float32",
        }
    }
}

/// One call of a model.
#[derive(Clone, Debug)]
pub struct Call {
    /// In the order of the model's inputs. States that the call before gave are not among them.
    pub inputs: Vec<Tensor>,
    /// Whether its last inputs are what the call before gave besides logits.
    pub goes_on: bool,
    /// What it should give, in the order of the model's outputs.
    pub expected: Vec<Expected>,
}

/// What an output should be.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its name.
    pub name: &'static str,
    /// Its sizes; the last one is that of a record.
    pub shape: Vec<usize>,
    /// What the reference device gives.
    pub reference: Vec<f64>,
    /// How far each record may be from it.
    pub bounds: Vec<f64>,
    /// Whether the largest value of a record says its class.
    pub is_logits: bool,
}

/// The larger of this share of a record's largest logit ...
const SHARE: f64 = 1e-4;
/// ... and so many times what the two devices differ by on it is how far a model may be off.
const TIMES: f64 = 4.0;
/// Of a state, whose records may be products of many small numbers, the share is of the largest value of all records,
/// and of no less than this.
const LEAST_STATE: f64 = 1e-2;

impl Expected {
    /// From what the two devices give.
    pub fn new(
        name: &'static str,
        shape: Vec<usize>,
        reference: Vec<f64>,
        cpu: &[f64],
        is_logits: bool,
    ) -> Expected {
        let record = shape.last().copied().unwrap_or(1).max(1);
        let largest_of = |values: &[f64]| values.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let of_states = largest_of(&reference).max(LEAST_STATE);
        let pairs = reference.chunks(record).zip(cpu.chunks(record));
        let bound = |(reference, cpu): (&[f64], &[f64])| {
            let largest = match is_logits {
                true => largest_of(reference),
                false => of_states,
            };
            let apart = reference.iter().zip(cpu);
            let apart = apart.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
            (SHARE * largest).max(TIMES * apart)
        };
        Expected {
            bounds: pairs.map(bound).collect(),
            name,
            shape,
            reference,
            is_logits,
        }
    }

    /// Those of some records.
    pub fn part(&self, shape: Vec<usize>, records: std::ops::Range<usize>) -> Expected {
        let record = shape.last().copied().unwrap_or(1).max(1);
        Expected {
            name: self.name,
            shape,
            reference: self.reference[records.start * record..records.end * record].to_vec(),
            bounds: self.bounds[records].to_vec(),
            is_logits: self.is_logits,
        }
    }

    /// The largest difference between what a model gave and this.
    ///
    /// # Errors
    /// In words, where it is too large, or the shape is another.
    pub fn compare(&self, found: &Tensor) -> Result<f64, String> {
        let name = self.name;
        let Values::F32(values) = &found.values else {
            return Err(format!("`{name}` is {} in place of float32", found.kind()));
        };
        if found.shape != self.shape || values.len() != self.reference.len() {
            return Err(format!(
                "`{name}` has the shape {:?} in place of {:?}",
                found.shape, self.shape
            ));
        }
        let record = self.shape.last().copied().unwrap_or(1).max(1);
        let mut largest: f64 = 0.0;
        let rows = self.reference.chunks(record).zip(values.chunks(record));
        for (number, ((reference, found), &bound)) in rows.zip(&self.bounds).enumerate() {
            for (place, (&expected, &found)) in reference.iter().zip(found).enumerate() {
                let apart = (expected - f64::from(found)).abs();
                if apart > bound || apart.is_nan() {
                    return Err(format!(
                        "value {place} of record {number} of `{name}` is {found} and should be \
                         {expected} within {bound:.1e}"
                    ));
                }
                largest = largest.max(apart);
            }
            let class = top(found.iter().map(|&x| f64::from(x)));
            let right = top(reference.iter().copied());
            let margin = reference[right] - reference[class];
            if self.is_logits && margin > bound {
                return Err(format!(
                    "record {number} is of class {class} and should be of class {right}, by a \
                     margin of {margin:.1e}"
                ));
            }
        }
        Ok(largest)
    }
}

/// The place of the largest value, the first of equals.
fn top(values: impl Iterator<Item = f64>) -> usize {
    let best = |best: (usize, f64), (place, value)| match value > best.1 {
        true => (place, value),
        false => best,
    };
    values.enumerate().fold((0, f64::NEG_INFINITY), best).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        let reference = vec![1.0, -10.0, 2.0, 1.99999, 0.0, 0.0];
        let cpu = [1.0, -10.0, 2.0, 1.99999, 0.0, 1e-6];
        Expected::new("logits", vec![2, 3], reference, &cpu, true)
    }

    #[test]
    fn bounds_are_of_the_record() {
        let expected = expected();
        assert_eq!(expected.bounds, [1e-3, 1.99999e-4]);
        let silent = Expected::new("logits", vec![1, 2], vec![0.0, 0.0], &[0.0, 1e-6], true);
        assert_eq!(silent.bounds, [4e-6]);
        let state = Expected::new("h", vec![2, 1], vec![1e-33, 0.5], &[2e-33, 0.5], false);
        assert_eq!(state.bounds, [5e-5, 5e-5]);
        let small = Expected::new("h", vec![1, 1], vec![1e-33], &[2e-33], false);
        assert!((small.bounds[0] / 1e-6 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_apart_is_told() {
        let expected = expected();
        let say = |values: [f32; 6]| {
            let found = Tensor::floats(&[2, 3], values.to_vec());
            expected.compare(&found)
        };
        let right = [1.0, -10.0, 2.0, 1.99999, 0.0, 0.0];
        assert!(say(right).unwrap() < 1e-6);
        let with = |place: usize, value: f32| {
            let mut values = right;
            values[place] = value;
            say(values)
        };
        assert!(with(0, 1.0009).is_ok());
        let words = with(0, 1.002).unwrap_err();
        assert!(words.contains("value 0 of record 0"), "{words}");
        assert!(with(5, f32::NAN).is_err());
        let other = Tensor::floats(&[3, 2], right.to_vec());
        let words = expected.compare(&other).unwrap_err();
        assert!(words.contains("[3, 2] in place of [2, 3]"), "{words}");
    }

    #[test]
    fn another_class_is_told_where_the_margin_is_larger() {
        // Each value is within the bound, and both together are not.
        let expected = Expected::new(
            "logits",
            vec![1, 2],
            vec![1.0, 0.99985],
            &[1.0, 0.99985],
            true,
        );
        let found = Tensor::floats(&[1, 2], vec![0.99991, 0.99994]);
        let words = expected.compare(&found).unwrap_err();
        assert!(
            words.contains("class 1 and should be of class 0"),
            "{words}"
        );
        let close = Expected::new(
            "logits",
            vec![1, 2],
            vec![1.0, 0.99995],
            &[1.0, 0.99995],
            true,
        );
        assert!(close.compare(&found).is_ok());
    }
}
