//! `nas-engine export --arch`: an architecture drawn, or with all its sizes.

use std::path::Path;

use serde_json::{Value, json};

use super::{Flags, Format};
use crate::cli::failure::Failure;
use crate::cli::flags;
use crate::cli::inspect::CLASSES;
use crate::export;
use crate::graph::Graph;
use crate::report::drawing::{
    LanguageSize, bench_dot, bench_svg, cell_dot, cell_json, cell_svg, network_dot, network_json,
    network_svg,
};
use crate::space::Architecture;
use crate::train::TrainError;
use crate::train::metadata::Facts;
use crate::train::weights_file::WeightsFile;
use crate::train::weights_header;

/// Classes of a network where nothing says how many.
const DEFAULT_CLASSES: i64 = 10;

/// Writes the drawing of an architecture.
pub fn write(flags: &Flags, arch: &Path) -> Result<(), Failure> {
    let for_weights = [
        ("--input", flags.input.is_some()),
        ("--steps", flags.steps.is_some()),
        ("--scan", flags.scan),
        ("--python", flags.python.is_some()),
        ("--no-check", flags.no_check),
    ];
    flags::refuse(&for_weights, "--weights", "--arch")?;
    let Known {
        architecture,
        classes,
        size,
    } = Known::read(arch)?;
    let pretty = |value: Value| format!("{value:#}\n");
    let text = match architecture {
        Architecture::Conv(network) => {
            let asked = flags.classes.or(classes).unwrap_or(DEFAULT_CLASSES);
            let classes = flags::in_range("--classes", asked, &CLASSES)?;
            let graph = Graph::new(&network, classes).map_err(TrainError::from)?;
            match flags.format {
                Format::Dot => network_dot(&graph),
                Format::Svg => network_svg(&graph),
                _ => pretty(network_json(&network, &graph)),
            }
        }
        Architecture::Bench(cell) => {
            let for_network = [("--classes", flags.classes.is_some())];
            flags::refuse(
                &for_network,
                "a convolutional network",
                "a cell of NAS-Bench-201",
            )?;
            match flags.format {
                Format::Dot => bench_dot(&cell),
                Format::Svg => bench_svg(&cell),
                _ => {
                    let parameters = cell.parameters();
                    pretty(
                        json!({"architecture": cell, "index": cell.index(), "parameters": parameters}),
                    )
                }
            }
        }
        Architecture::Cell(cell) => {
            let for_network = [("--classes", flags.classes.is_some())];
            flags::refuse(&for_network, "a convolutional network", "a recurrent cell")?;
            match flags.format {
                Format::Dot => cell_dot(&cell),
                Format::Svg => cell_svg(&cell),
                _ => pretty(cell_json(&cell, size)),
            }
        }
    };
    Ok(export::write_file(&flags.out, text.as_bytes())?)
}

/// What a file says of an architecture.
struct Known {
    architecture: Architecture,
    classes: Option<i64>,
    size: Option<LanguageSize>,
}

impl Known {
    fn read(path: &Path) -> Result<Known, Failure> {
        if !weights_header::is_weights(path) {
            return Ok(Known {
                architecture: flags::read_architecture(path)?,
                classes: None,
                size: None,
            });
        }
        let file = WeightsFile::read(path)?;
        let metadata = file.metadata()?;
        let (mut classes, mut size) = (None, None);
        match &metadata.facts {
            Facts::Images { classes: names, .. } => classes = i64::try_from(names.len()).ok(),
            Facts::Text { .. } => {
                let sizes = file.language_sizes()?;
                size = Some(LanguageSize {
                    layers: sizes.layers,
                    hidden: sizes.hidden,
                    vocabulary: sizes.vocabulary,
                    tied: sizes.tied,
                });
            }
        }
        Ok(Known {
            architecture: metadata.architecture,
            classes,
            size,
        })
    }
}
