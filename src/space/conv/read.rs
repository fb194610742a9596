//! Convolutional architectures read from JSON, strictly: whatever the format does not name is refused.

use std::ops::RangeInclusive;

use super::network::{
    ConvArchitecture, FILTER_SIDE, FILTERS, LAYERS, Layer, LayerOp, LayerType, POOL_SIDE, STRIDE,
};
use crate::space::ArchitectureError;
use crate::space::fields::{Fields, TOP, did_you_mean, rule};
use crate::space::json::Json;

/// Reads what stands beside `"space":"conv"`.
pub(in crate::space) fn read(mut top: Fields) -> Result<ConvArchitecture, ArchitectureError> {
    let layers = top.require("layers", "list at least one layer")?;
    let learning_rate = top
        .take("learning_rate")
        .map(read_learning_rate)
        .transpose()?;
    top.finish(&["space", "layers", "learning_rate"], "an architecture")?;
    let Json::List(layers) = layers else {
        return Err(rule(
            TOP,
            format!("`layers` must be a list of layers, not {layers}"),
        ));
    };
    if !LAYERS.contains(&layers.len()) {
        let (low, high) = LAYERS.into_inner();
        let text = format!(
            "`layers` holds {} layers; give {low} to {high}",
            layers.len()
        );
        return Err(rule(TOP, text));
    }
    let numbered = layers.into_iter().enumerate();
    let layers = numbered
        .map(|(i, layer)| read_layer(i + 1, layer))
        .collect::<Result<_, _>>();
    Ok(ConvArchitecture {
        layers: layers?,
        learning_rate,
    })
}

fn read_learning_rate(json: Json) -> Result<f64, ArchitectureError> {
    let number = match json {
        Json::Whole(x) => Some(x as f64),
        Json::Number(x) => Some(x),
        _ => None,
    };
    number.filter(|x| *x > 0.0 && x.is_finite()).ok_or_else(|| {
        let advice = "leave it out for the recipe's own";
        let text = format!("`learning_rate` must be a number above 0, not {json}; {advice}");
        rule(TOP, text)
    })
}

fn read_layer(number: usize, json: Json) -> Result<Layer, ArchitectureError> {
    let place = format!("layer {number}");
    let mut fields = Fields::new(place.clone(), json)?;
    let layer_type = fields.layer_type()?;
    let op = match layer_type {
        LayerType::Conv => LayerOp::Conv {
            filter: fields.pair("filter", FILTER_SIDE, Parity::Odd)?,
            filters: fields.filters()?,
            stride: match fields.has("stride") {
                true => fields.pair("stride", STRIDE, Parity::Any)?,
                false => [1, 1],
            },
        },
        LayerType::MaxPool => LayerOp::MaxPool {
            pool: fields.pair("pool", POOL_SIDE, Parity::Any)?,
            stride: fields.pair("stride", STRIDE, Parity::Any)?,
        },
        LayerType::AvgPool => LayerOp::AvgPool {
            pool: fields.pair("pool", POOL_SIDE, Parity::Any)?,
            stride: fields.pair("stride", STRIDE, Parity::Any)?,
        },
        LayerType::Lcn => LayerOp::Lcn,
        LayerType::BatchNorm => LayerOp::BatchNorm,
    };
    let inputs = fields.inputs(number)?;
    let keys: &[&str] = match layer_type {
        LayerType::Conv => &["type", "filter", "filters", "stride", "inputs"],
        LayerType::MaxPool | LayerType::AvgPool => &["type", "pool", "stride", "inputs"],
        LayerType::Lcn | LayerType::BatchNorm => &["type", "inputs"],
    };
    fields.finish(keys, &format!("a layer of type `{}`", layer_type.name()))?;
    Ok(Layer { op, inputs })
}

#[derive(PartialEq)]
enum Parity {
    Odd,
    Any,
}

impl Fields {
    fn layer_type(&mut self) -> Result<LayerType, ArchitectureError> {
        let names = LayerType::ALL.map(|layer_type| layer_type.name());
        let found = match self.take("type") {
            None => return Ok(LayerType::Conv),
            Some(Json::Text(name)) => match names.iter().position(|known| *known == name) {
                Some(i) => return Ok(LayerType::ALL[i]),
                None => format!(
                    "{}{}",
                    Json::Text(name.clone()),
                    did_you_mean(&name, &names)
                ),
            },
            Some(other) => other.to_string(),
        };
        let known = names.join(", ");
        Err(rule(
            &self.place,
            format!("`type` must be one of {known}, not {found}"),
        ))
    }

    /// `[height, width]`, both within `range`.
    fn pair(
        &mut self,
        key: &str,
        range: RangeInclusive<usize>,
        parity: Parity,
    ) -> Result<[usize; 2], ArchitectureError> {
        let (low, high) = range.clone().into_inner();
        let odd = if parity == Parity::Odd { "odd " } else { "" };
        let form = format!("two {odd}whole numbers from {low} to {high}, [height, width]");
        let json = self.require(key, &format!("give {form}"))?;
        let whole = |x: &Json| x.whole().filter(|x| range.contains(x));
        let fits = |x: &usize| parity == Parity::Any || x % 2 == 1;
        if let Json::List(list) = &json
            && let [h, w] = list.as_slice()
            && let (Some(h), Some(w)) = (whole(h).filter(fits), whole(w).filter(fits))
        {
            return Ok([h, w]);
        }
        Err(rule(
            &self.place,
            format!("`{key}` must be {form}, not {json}"),
        ))
    }

    fn filters(&mut self) -> Result<usize, ArchitectureError> {
        let (low, high) = FILTERS.into_inner();
        let form = format!("a whole number from {low} to {high}");
        let json = self.require("filters", &format!("give {form}"))?;
        let found = json.whole().filter(|x| FILTERS.contains(x));
        found.ok_or_else(|| rule(&self.place, format!("`filters` must be {form}, not {json}")))
    }

    /// What layer `number` reads; an empty list means the image.
    fn inputs(&mut self, number: usize) -> Result<Vec<usize>, ArchitectureError> {
        let json = self.require("inputs", "list the layers it reads, or [0] for the image")?;
        let wrong = |text: String| Err(rule(&self.place, text));
        let Json::List(list) = &json else {
            return wrong(format!(
                "`inputs` must be a list of layer numbers, not {json}"
            ));
        };
        let mut inputs = Vec::new();
        for item in list {
            let Some(input) = item.whole() else {
                return wrong(format!(
                    "`inputs` must hold whole numbers from 0, not {item}"
                ));
            };
            if input >= number {
                return wrong(format!(
                    "`inputs` names layer {input}, but a layer reads only earlier ones; give \
                     numbers from 0 (the image) to {}",
                    number - 1
                ));
            }
            if let Some(&last) = inputs.last()
                && input <= last
            {
                let what = if input == last {
                    "twice"
                } else {
                    "out of order"
                };
                let advice = "list each input once, in ascending order";
                return wrong(format!("`inputs` has {input} {what} in {json}; {advice}"));
            }
            inputs.push(input);
        }
        if inputs.is_empty() {
            inputs.push(0);
        }
        Ok(inputs)
    }
}
