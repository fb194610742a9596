//! The shipped architectures state their size, by formulas written here from formats.md alone.

use nas_engine::shape::{conv_output, pool_output};
use nas_engine::space::{ConvArchitecture, ConvSpace, ConvSpaceConfig, LayerOp};

/// What a network on 3x32x32 images with 10 classes costs.
#[derive(Debug, Default, PartialEq)]
pub struct Cost {
    pub parameters: usize,
    pub multiply_adds: usize,
    /// Height and width of each layer's output.
    pub sizes: Vec<[usize; 2]>,
}

pub fn cost(architecture: &ConvArchitecture) -> Cost {
    let mut cost = Cost::default();
    let mut outputs = vec![[3, 32, 32]]; // channels, height, width; 0 is the image
    for layer in &architecture.layers {
        let [c, h, w] = joined(&outputs, &layer.inputs);
        let output = match layer.op {
            LayerOp::Conv {
                filter: [kh, kw],
                filters,
                stride,
            } => {
                let (h, w) = (conv_output(h, stride[0]), conv_output(w, stride[1]));
                let weights = kh * kw * c * filters;
                cost.parameters += weights + 2 * filters;
                cost.multiply_adds += h * w * weights;
                [filters, h, w]
            }
            LayerOp::MaxPool { pool, stride } | LayerOp::AvgPool { pool, stride } => {
                let fits = |size, axis| pool_output(size, pool[axis], stride[axis]).unwrap();
                [c, fits(h, 0), fits(w, 1)]
            }
            LayerOp::Lcn => [c, h, w],
            LayerOp::BatchNorm => {
                cost.parameters += 2 * c;
                [c, h, w]
            }
        };
        outputs.push(output);
        cost.sizes.push([output[1], output[2]]);
    }
    let features = joined(&outputs, &architecture.unread())[0];
    cost.parameters += features * 10 + 10;
    cost.multiply_adds += features * 10;
    cost
}

/// Channels add up; the largest height and width win.
fn joined(outputs: &[[usize; 3]], inputs: &[usize]) -> [usize; 3] {
    let of = |axis: usize| inputs.iter().map(move |&input| outputs[input][axis]);
    [of(0).sum(), of(1).max().unwrap(), of(2).max().unwrap()]
}

/// An example file, which must be what its canonical form is but for white space.
fn example(name: &str) -> ConvArchitecture {
    let path = format!("{}/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let architecture = ConvArchitecture::from_json(&text).unwrap();
    let packed: String = text.split_whitespace().collect();
    assert_eq!(architecture.to_json(), packed, "{name}");
    architecture
}

fn tokens(preset: &str, architecture: &ConvArchitecture) -> Vec<u32> {
    let space = ConvSpace::new(&ConvSpaceConfig::preset(preset).unwrap()).unwrap();
    space.encode(architecture).unwrap()
}

#[test]
fn the_papers_v1_network_and_its_variants() {
    let v1 = example("v1");
    assert_eq!(v1.layers.len(), 15);
    assert_eq!(cost(&v1).parameters, 4_201_630);
    assert!(
        (4.295e9..4.305e9).contains(&(cost(&v1).multiply_adds as f64)),
        "{:?}",
        cost(&v1)
    );
    assert_eq!(v1.unread(), [15]);
    let (all, none) = (example("v1-all-skips"), example("v1-no-skips"));
    assert_eq!(cost(&all).parameters, 6_630_910);
    assert_eq!(cost(&none).parameters, 809_134);
    for (i, layer) in v1.layers.iter().enumerate() {
        assert_eq!(all.layers[i].op, layer.op);
        assert_eq!(none.layers[i].op, layer.op);
        assert_eq!(
            all.layers[i].inputs,
            if i == 0 { vec![0] } else { (1..=i).collect() }
        );
        assert_eq!(none.layers[i].inputs, [i]);
    }
    for variant in [&v1, &all, &none] {
        assert_eq!(tokens("v1", variant).len(), 15 * 3 + 15 * 14 / 2);
    }
}

/// `examples/v3.json` is the uniform draw of seed 1, sample 0.
#[test]
fn a_drawn_v3_network() {
    let v3 = example("v3");
    let space = ConvSpace::new(&ConvSpaceConfig::preset("v3").unwrap()).unwrap();
    assert_eq!(
        v3.to_json(),
        space.decode(&space.random(1, 0)).unwrap().to_json()
    );
    assert_eq!(v3.layers.len(), 41);
    assert_eq!(cost(&v3).parameters, 1_686_022);
}

#[test]
fn small_is_small_strided_and_skips_between_sizes() {
    let small = example("small");
    let Cost {
        parameters,
        multiply_adds,
        sizes,
    } = cost(&small);
    assert_eq!((parameters, multiply_adds), (61_066, 23_778_120));
    assert!((5_000_000..30_000_000).contains(&multiply_adds));
    let unequal = |inputs: &[usize]| inputs.iter().any(|&i| sizes[i - 1] != sizes[inputs[0] - 1]);
    assert!(small.layers[1..].iter().any(|layer| unequal(&layer.inputs)));
    assert_eq!(
        sizes,
        [[32; 2], [16; 2], [32; 2], [16; 2], [16; 2], [16; 2]]
    );
    assert_eq!(small.unread(), [5, 6]);
    assert_eq!(tokens("v2", &small).len(), 6 * 5 + 15);
}

#[test]
fn layer_types_has_each_type_once() {
    let types = example("layer-types");
    let mut names: Vec<_> = types
        .layers
        .iter()
        .map(|layer| layer.op.type_name())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["avg_pool", "batch_norm", "conv", "lcn", "max_pool"]);
    let Cost {
        parameters,
        multiply_adds,
        sizes,
    } = cost(&types);
    // 3*3*3*8 + 16, then 24 channels: 48 and 24*10 + 10.
    assert_eq!((parameters, multiply_adds), (530, 1024 * 216 + 240));
    assert_eq!(sizes, [[32; 2], [32; 2], [16; 2], [15; 2], [16; 2]]);
}
