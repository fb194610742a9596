//! Measured times of a child's step, as a file of JSON brings them.

use serde::Deserialize;
use serde_json::Value;

use super::{PassOf, PassPlace, Roofline};
use crate::config::BATCH;
use crate::space::ConvArchitecture;

/// What was measured of one child on one device. Other keys are passed over, so that a larger
/// report may hold these.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Measured {
    /// Name of the device.
    pub device: String,
    /// Mean seconds of a training step.
    pub step_seconds: Option<f64>,
    /// Images of a batch.
    pub batch: Option<usize>,
    /// What was trained.
    pub architecture: Option<Value>,
    /// Seconds of single passes, where they are known.
    #[serde(default)]
    pub passes: Vec<MeasuredPass>,
}

/// Seconds of one pass.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct MeasuredPass {
    /// A layer's number, `classifier` or `optimizer`.
    pub layer: Value,
    /// As [`PassOf::word`] says it.
    pub pass: String,
    /// Mean seconds.
    pub seconds: f64,
}

/// Why times cannot stand beside a roofline.
#[derive(Debug, thiserror::Error)]
pub enum MeasuredError {
    /// It is not the form above.
    #[error("{0}; give an object with `device`, and `step_seconds` or `passes`")]
    Form(#[from] serde_json::Error),
    /// A time that is none.
    #[error("{what} takes {seconds} seconds; a measured time is above 0")]
    Seconds {
        /// Of what.
        what: String,
        /// As given.
        seconds: f64,
    },
    /// A pass that there is none of.
    #[error("`{pass}` is no pass of layer {layer}; name one that `roofline --json` lists, once")]
    Pass {
        /// As given.
        layer: Value,
        /// As given.
        pass: String,
    },
    /// The times are of other batches.
    #[error(
        "measured with batches of {measured}, not {asked}; {}",
        match BATCH.contains(&(*measured as u64)) {
            true => format!("give --batch {measured}"),
            false => format!("measure batches of {} to {}", BATCH.start(), BATCH.end()),
        }
    )]
    Batch {
        /// Of the file.
        measured: usize,
        /// Of the roofline.
        asked: usize,
    },
    /// The times are of another child.
    #[error("measured with another architecture; give that one with --arch")]
    Architecture,
}

impl Measured {
    /// Reads the times of `architecture` in batches of `batch`; a file that says neither is
    /// believed.
    ///
    /// # Errors
    /// Where the form is another, a time is not above 0, or they are times of something else.
    pub fn read(
        text: &str,
        architecture: &ConvArchitecture,
        batch: usize,
    ) -> Result<Measured, MeasuredError> {
        let measured: Measured = serde_json::from_str(text)?;
        let step = measured.step_seconds.map(|s| ("a step".to_owned(), s));
        let passes = measured.passes.iter();
        let passes = passes.map(|p| (format!("{} of layer {}", p.pass, p.layer), p.seconds));
        if let Some((what, seconds)) = step.into_iter().chain(passes).find(|(_, s)| *s <= 0.0) {
            return Err(MeasuredError::Seconds { what, seconds });
        }
        if let Some(measured) = measured.batch.filter(|of| *of != batch) {
            let asked = batch;
            return Err(MeasuredError::Batch { measured, asked });
        }
        if let Some(of) = &measured.architecture {
            let read = ConvArchitecture::from_json(&of.to_string());
            let same = read.is_ok_and(|of| of == *architecture);
            if !same {
                return Err(MeasuredError::Architecture);
            }
        }
        Ok(measured)
    }

    /// That every pass is one of a roofline, and none stands twice.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_passes(&self, roofline: &Roofline) -> Result<(), MeasuredError> {
        let parts = roofline.parts.iter();
        let known: Vec<(Value, &str)> = parts
            .flat_map(|(place, passes)| passes.iter().map(|p| (place.json(), p.kind.word())))
            .collect();
        for (i, MeasuredPass { layer, pass, .. }) in self.passes.iter().enumerate() {
            let same = |other: &MeasuredPass| other.layer == *layer && other.pass == *pass;
            let is_known = known.iter().any(|of| of.0 == *layer && of.1 == pass);
            if !is_known || self.passes[..i].iter().any(same) {
                let (layer, pass) = (layer.clone(), pass.clone());
                return Err(MeasuredError::Pass { layer, pass });
            }
        }
        Ok(())
    }

    /// Seconds of a pass, where it was measured.
    pub fn seconds(&self, place: PassPlace, kind: PassOf) -> Option<f64> {
        let layer = place.json();
        let of = |pass: &&MeasuredPass| pass.layer == layer && pass.pass == kind.word();
        self.passes.iter().find(of).map(|pass| pass.seconds)
    }
}
