//! Variants of a network, as the paper tries them: with every skip connection, with none, with more
//! filters.

use std::fmt;
use std::str::FromStr;

use super::{ConvArchitecture, FILTERS, LayerOp};

/// How a network is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Every layer reads all layers before it.
    Dense,
    /// Every layer reads the one before it alone.
    None,
    /// Every convolution has so many filters more.
    AddFilters(usize),
}

/// A variant that there is not, or that a network cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariantError {
    /// No such variant.
    #[error("`{0}` is no variant; give dense, none or add-filters:N")]
    Unknown(String),
    /// More filters than a convolution may have.
    #[error("layer {layer} would have {filters} filters; {most} is the most, so add fewer", most = FILTERS.end())]
    Filters {
        /// The layer, from 1.
        layer: usize,
        /// What it would have.
        filters: usize,
    },
}

impl FromStr for Variant {
    type Err = VariantError;

    fn from_str(text: &str) -> Result<Variant, VariantError> {
        let unknown = || VariantError::Unknown(text.to_owned());
        match (text, text.strip_prefix("add-filters:")) {
            ("dense", _) => Ok(Variant::Dense),
            ("none", _) => Ok(Variant::None),
            (_, Some(n)) => n.parse().map(Variant::AddFilters).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Dense => write!(f, "dense"),
            Variant::None => write!(f, "none"),
            Variant::AddFilters(n) => write!(f, "add-filters:{n}"),
        }
    }
}

impl ConvArchitecture {
    /// The network varied.
    ///
    /// # Errors
    /// Where a convolution would have more filters than it may.
    pub fn vary(&self, variant: Variant) -> Result<ConvArchitecture, VariantError> {
        let mut varied = self.clone();
        for (i, layer) in varied.layers.iter_mut().enumerate() {
            match (variant, &mut layer.op) {
                // The first layer has nothing but the image to read.
                (Variant::Dense, _) => layer.inputs = (1.min(i)..=i).collect(),
                (Variant::None, _) => layer.inputs = vec![i],
                (Variant::AddFilters(more), LayerOp::Conv { filters, .. }) => {
                    *filters = filters.saturating_add(more);
                    if !FILTERS.contains(filters) {
                        let (layer, filters) = (i + 1, *filters);
                        return Err(VariantError::Filters { layer, filters });
                    }
                }
                (Variant::AddFilters(_), _) => {}
            }
        }
        Ok(varied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(text: &str) -> ConvArchitecture {
        ConvArchitecture::from_json(text).unwrap()
    }

    /// The paper's network with all and with no skip connections was written by hand.
    #[test]
    fn variants_of_the_papers_network_are_its_examples() {
        let network = example(include_str!("../../../examples/v1.json"));
        let all = example(include_str!("../../../examples/v1-all-skips.json"));
        let none = example(include_str!("../../../examples/v1-no-skips.json"));
        assert_eq!(network.vary("dense".parse().unwrap()), Ok(all));
        assert_eq!(network.vary("none".parse().unwrap()), Ok(none));
    }

    #[test]
    fn filters_are_added_to_convolutions_alone() {
        let network = example(include_str!("../../../examples/layer-types.json"));
        let filters = |network: &ConvArchitecture| -> Vec<Option<usize>> {
            let of = |op: LayerOp| match op {
                LayerOp::Conv { filters, .. } => Some(filters),
                _ => None,
            };
            network.layers.iter().map(|layer| of(layer.op)).collect()
        };
        let more = network.vary("add-filters:40".parse().unwrap()).unwrap();
        let expected: Vec<_> = filters(&network)
            .iter()
            .map(|n| n.map(|n| n + 40))
            .collect();
        assert_eq!(filters(&more), expected);
        let too_many = network.vary(Variant::AddFilters(usize::MAX));
        assert!(matches!(
            too_many,
            Err(VariantError::Filters { layer: 1, .. })
        ));
    }

    #[test]
    fn names_are_read_back() {
        for name in ["dense", "none", "add-filters:40"] {
            assert_eq!(name.parse::<Variant>().unwrap().to_string(), name);
        }
        for name in ["", "Dense", "add-filters", "add-filters:", "add-filters:-1"] {
            assert!(name.parse::<Variant>().is_err(), "{name}");
        }
    }
}
