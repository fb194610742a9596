//! Every operation on numbers that fit on paper; what is expected was computed by hand.

mod head;

use crate::cases::{Case, Data, Outputs, Setup, Tolerance};
use nas_engine::device::reference::Reference;
use nas_engine::graph::Shape;
use nas_engine::graph::plan::{NormInput, NormPlaces};
use nas_engine::graph::step::{Contribution, Norm, NormId, Pool, PoolKind, Source, Span, Step};

/// Runs a plan on the reference.
fn run(
    batch: usize,
    vectors: [usize; 2],
    build: impl Fn(&mut Setup) + Send + Sync + 'static,
) -> Outputs {
    let title = ("literal", "by hand".to_string());
    let case = Case::new(title, batch, vectors, Tolerance::new(0.0), build);
    case.run(&Reference, 0)
        .expect("the reference loads any plan")
}

/// Asserts that an output has these values, up to the rounding of f64.
fn expect(outputs: &Outputs, name: &str, expected: &[f64]) {
    let got = outputs
        .get(name)
        .unwrap_or_else(|| panic!("no output {name}"));
    let close = |(x, y): (&f64, &f64)| (x - y).abs() <= 1e-12 * (1.0 + y.abs());
    assert!(
        got.len() == expected.len() && got.iter().zip(expected).all(close),
        "{name}: {got:?}, expected {expected:?}"
    );
}

fn literal(values: &[f64]) -> Data {
    Data::Literal(values.to_vec())
}

fn span(start: usize, len: usize) -> Span {
    Span { start, len }
}

/// A tensor of these numbers.
fn images(setup: &mut Setup, name: &str, [c, h, w]: [usize; 3], values: &[f64]) -> Source {
    let shape = Shape::new(c, h, w);
    Source {
        buffer: setup.images(name, &shape, literal(values)),
        shape,
        first_channel: 0,
    }
}

/// Gathers one contribution into the output `name`.
fn gather(setup: &mut Setup, name: &str, shape: &Shape, contributions: Vec<Contribution>) {
    let out = setup.builder.images(name, shape);
    setup.backward(Step::Gather {
        out,
        shape: shape.clone(),
        contributions,
        norm: None,
    });
    setup.output_backward(out);
}

/// 3x3, stride 2, of 1..9. The filter has 1 above, 2 to the left, 3 in the middle and 4 below to
/// the right, so the first result is 3·1 + 4·5.
#[test]
fn convolution() {
    let filter = [0.0, 1.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.0, 4.0];
    let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let outputs = run(1, [9, 0], move |setup| {
        setup.weights(literal(&filter));
        let x = images(setup, "x", [1, 3, 3], &image);
        let output = Shape::new(1, 2, 2);
        let sources = vec![x.clone()];
        let id = (setup.builder).conv("conv", sources, [3, 3], [2, 2], &output, span(0, 9));
        let conv = setup.builder.plan().conv(id).clone();
        setup.forward(Step::Conv(id));
        setup.result_with(conv.y, conv.y, literal(&[1.0, 10.0, 100.0, 1000.0]));
        setup.statistics(conv.moments, &output, 0, 2);
        setup.statistics(conv.moments, &output, 1, 2);
        setup.backward(Step::ConvFilterGrad(id));
        setup.weight_gradients();
        let part = Contribution::Conv {
            conv: id,
            source: 0,
        };
        gather(setup, "dx", &x.shape, vec![part]);
    });
    expect(&outputs, "conv y", &[23.0, 13.0, 25.0, 49.0]);
    expect(&outputs, "conv moments row 0", &[27.5]);
    expect(&outputs, "conv moments row 1", &[699.0]);
    let dw = [
        5000.0, 6400.0, 500.0, 8020.0, 9731.0, 802.0, 50.0, 64.0, 5.0,
    ];
    expect(&outputs, "gradients", &dw);
    let dx = [3.0, 20.0, 30.0, 100.0, 4.0, 1000.0, 300.0, 2000.0, 3000.0];
    expect(&outputs, "dx", &dx);
}

/// 1x1 over two tensors, the second smaller: its zeros are at the bottom and right.
#[test]
fn convolution_of_unequal_sources() {
    let outputs = run(1, [2, 0], |setup| {
        setup.weights(literal(&[10.0, 100.0]));
        let a = images(setup, "a", [1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = Source {
            first_channel: 1,
            ..images(setup, "b", [1, 1, 1], &[5.0])
        };
        let small = b.shape.clone();
        let output = Shape::new(1, 2, 2);
        let id = (setup.builder).conv("conv", vec![a, b], [1, 1], [1, 1], &output, span(0, 2));
        let y = setup.builder.plan().conv(id).y;
        setup.forward(Step::Conv(id));
        setup.result_with(y, y, literal(&[7.0, 1.0, 1.0, 1.0]));
        let part = Contribution::Conv {
            conv: id,
            source: 1,
        };
        gather(setup, "db", &small, vec![part]);
    });
    expect(&outputs, "conv y", &[510.0, 20.0, 30.0, 40.0]);
    expect(&outputs, "db", &[700.0]);
}

/// A normalisation with ReLU of one channel: scale 2, shift -1 at weights 1 and 2.
fn norm(setup: &mut Setup, [h, w]: [usize; 2], x: &[f64], running: [f64; 2]) -> Norm {
    let shape = Shape::new(1, h, w);
    let source = images(setup, "source", [1, h, w], x);
    let conv = (setup.builder).conv("x", vec![source], [1, 1], [1, 1], &shape, span(0, 1));
    let places = NormPlaces {
        scale: span(1, 1),
        shift: span(2, 1),
        running_mean: span(0, 1),
        running_var: span(1, 1),
    };
    let id = setup
        .builder
        .norm("norm", NormInput::Conv(conv), &shape, places);
    let norm = setup.builder.plan().norm(id).clone();
    let statistics = setup.builder.plan().running;
    setup.weights(literal(&[0.0, 2.0, -1.0]));
    setup.fill(statistics, literal(&running));
    setup.fill(norm.x, literal(x));
    setup.output(statistics);
    norm
}

/// 1, 3, 5, 7 in two images: mean 4, variance 5, unbiased 20/3. Only the 7 comes through the ReLU.
#[test]
fn batch_normalisation() {
    let outputs = run(2, [3, 2], |setup| {
        let norm = norm(setup, [1, 2], &[1.0, 3.0, 5.0, 7.0], [10.0, 1.0]);
        setup.forward(Step::Moments(NormId(0)));
        setup.forward(Step::Norm(NormId(0)));
        let dout = setup.builder.images("dout", &norm.shape);
        setup.result_with(norm.out, dout, literal(&[1.0, 1.0, 1.0, 2.0]));
        for row in 0..2 {
            setup.statistics(norm.moments, &norm.shape, row, 2);
            setup.statistics_backward(norm.dz_sums, &norm.shape, row, 2);
        }
        setup.backward(Step::Gather {
            out: norm.dz,
            shape: norm.shape.clone(),
            contributions: vec![Contribution::Copy {
                dout,
                shape: norm.shape.clone(),
                first_plane: 0,
            }],
            norm: Some(NormId(0)),
        });
        setup.output_backward(norm.dz);
        setup.backward(Step::NormGrad(NormId(0)));
        setup.gradient(norm.x, norm.dx);
        for row in 0..7 {
            setup.statistics_backward(norm.coefficients, &norm.shape, row, 7);
        }
        setup.weight_gradients();
    });
    let root = 5.00001f64.sqrt();
    expect(&outputs, "norm output", &[0.0, 0.0, 0.0, 6.0 / root - 1.0]);
    expect(&outputs, "running statistics", &[9.4, 0.9 + 2.0 / 3.0]);
    expect(&outputs, "x moments row 0", &[2.0, 6.0]);
    expect(&outputs, "x moments row 1", &[2.0, 2.0]);
    expect(&outputs, "norm dz", &[0.0, 0.0, 0.0, 2.0]);
    expect(&outputs, "norm dz sums row 0", &[0.0, 2.0]);
    expect(&outputs, "norm dz sums row 1", &[0.0, 6.0 / root]);
    expect(&outputs, "gradients", &[0.0, 6.0 / root, 2.0]);
    // 2 / root (dz - 2/4 - (x - 4) / root · (6 / root) / 4)
    let slope = -1.5 / (root * root);
    let dx = [-3.0, -1.0, 1.0, 3.0].map(|x| -0.5 + slope * x);
    let dx = [dx[0], dx[1], dx[2], dx[3] + 2.0].map(|x| 2.0 / root * x);
    expect(&outputs, "x y", &dx);
    let (a, b) = (2.0 / root, 2.0 / root * slope);
    let rows = [4.0, 1.0 / root, a, -1.0 - 4.0 * a, a, b, -0.5 * a - 4.0 * b];
    for (row, value) in rows.into_iter().enumerate() {
        expect(&outputs, &format!("norm coefficients row {row}"), &[value]);
    }
}

/// Of one value the biased variance counts, which is 0.
#[test]
fn batch_normalisation_of_one_value() {
    let outputs = run(1, [3, 2], |setup| {
        let norm = norm(setup, [1, 1], &[3.0], [0.0, 1.0]);
        setup.forward(Step::Moments(NormId(0)));
        setup.forward(Step::Norm(NormId(0)));
        setup.output(norm.out);
    });
    expect(&outputs, "running statistics", &[0.3, 0.9]);
    expect(&outputs, "norm output", &[0.0]);
}

/// Mean 2 and variance 1: twice the difference from 2, less 1.
#[test]
fn normalisation_by_running_statistics() {
    let outputs = run(1, [3, 2], |setup| {
        let norm = norm(setup, [1, 2], &[4.0, 1.0], [2.0, 1.0]);
        setup.forward(Step::NormRunning(NormId(0)));
        setup.output(norm.out);
    });
    let first = 4.0 / 1.00001f64.sqrt() - 1.0;
    expect(&outputs, "norm output", &[first, 0.0]);
    expect(&outputs, "running statistics", &[2.0, 1.0]);
}

/// 2x2 windows of stride 1 over two rows of three; both share the middle column, where a 2 is the
/// first largest of both.
#[test]
fn pools() {
    let pixels = [1.0, 2.0, 2.0, 0.0, 2.0, -1.0];
    let max = pool(PoolKind::Max, pixels);
    expect(&max, "out", &[2.0, 2.0]);
    expect(&max, "dx", &[0.0, 11.0, 0.0, 0.0, 0.0, 0.0]);
    let avg = pool(PoolKind::Avg, pixels);
    expect(&avg, "out", &[1.25, 1.25]);
    expect(&avg, "dx", &[0.25, 2.75, 2.5, 0.25, 2.75, 2.5]);
}

/// The only NaN of the first window is its last pixel, and the first one of the second.
#[test]
fn what_is_not_a_number_is_the_largest() {
    let outputs = pool(PoolKind::Max, [1.0, 2.0, 9.0, 0.0, f64::NAN, f64::NAN]);
    let out = outputs.get("out").expect("an output");
    assert!(out.iter().all(|x| x.is_nan()), "{out:?}");
    expect(&outputs, "dx", &[0.0, 0.0, 0.0, 0.0, 11.0, 0.0]);
}

/// Windows of 2x2 and stride 1 over two rows of three.
fn pool(kind: PoolKind, pixels: [f64; 6]) -> Outputs {
    run(1, [0, 0], move |setup| {
        let x = images(setup, "x", [1, 2, 3], &pixels);
        let output = Shape::new(1, 1, 2);
        let out = setup.builder.images("out", &output);
        let dout = setup.builder.images("dout", &output);
        let pool = Pool {
            kind,
            window: [2, 2],
            stride: [1, 1],
            x: x.buffer,
            input: x.shape.clone(),
            out,
            output,
        };
        setup.forward(Step::Pool(pool.clone()));
        setup.result_with(out, dout, literal(&[1.0, 10.0]));
        let part = Contribution::Pool { pool, dout };
        gather(setup, "dx", &x.shape, vec![part]);
    })
}

fn lcn(pixels: &[f64], dout: &[f64]) -> Outputs {
    let (pixels, dout) = (pixels.to_vec(), literal(dout));
    run(1, [0, 0], move |setup| {
        let x = images(setup, "x", [1, 1, pixels.len()], &pixels);
        let out = setup.builder.images("out", &x.shape);
        let gradient = setup.builder.images("dout", &x.shape);
        setup.forward(Step::Lcn {
            x: x.buffer,
            out,
            shape: x.shape.clone(),
        });
        setup.result_with(out, gradient, dout.clone());
        let part = Contribution::Lcn {
            x: x.buffer,
            dout: gradient,
        };
        gather(setup, "dx", &x.shape, vec![part]);
    })
}

/// Two pixels a and b: with e = exp(-1/8) and q = e / (1 + e), v = q (a - b) and its negative, so
/// s is q |a - b| in both and the result is 1 and -1, whatever a and b. Under the floor the result
/// is 10,000 v.
#[test]
fn local_contrast_normalisation() {
    let e = (-1.0f64 / 8.0).exp();
    let q = e / (1.0 + e);
    let outputs = lcn(&[5.0, 3.0], &[1.0, 10.0]);
    expect(&outputs, "out", &[1.0, -1.0]);
    expect(&outputs, "dx", &[0.0, 0.0]);
    let tiny = f64::from(1e-5f32);
    let outputs = lcn(&[tiny, 0.0], &[1.0, 10.0]);
    expect(&outputs, "out", &[1e4 * q * tiny, -1e4 * q * tiny]);
    expect(&outputs, "dx", &[-9e4 * q, 9e4 * q]);
    expect(&lcn(&[7.0], &[3.0]), "out", &[0.0]);
}

/// 0, 3, 0: the taps are 1, e = exp(-1/8) and g = exp(-1/2).
#[test]
fn local_contrast_normalisation_of_a_spot() {
    let (e, g) = ((-1.0f64 / 8.0).exp(), (-1.0f64 / 2.0).exp());
    let (edge, middle) = (1.0 + e + g, 1.0 + 2.0 * e);
    let v = [-3.0 * e / edge, 3.0 - 3.0 / middle];
    let side = (((1.0 + g) * v[0] * v[0] + e * v[1] * v[1]) / edge).sqrt();
    let centre = ((2.0 * e * v[0] * v[0] + v[1] * v[1]) / middle).sqrt();
    let mean = (2.0 * side + centre) / 3.0;
    let (left, top) = (v[0] / side.max(mean), v[1] / centre.max(mean));
    let outputs = lcn(&[0.0, 3.0, 0.0], &[1.0, 1.0, 1.0]);
    expect(&outputs, "out", &[left, top, left]);
}

// paper P2.4, P2.7
#[test]
fn padded_concatenation() {
    let outputs = run(1, [0, 0], |setup| {
        let a = images(setup, "a", [1, 1, 2], &[1.0, 2.0]);
        let b = Source {
            first_channel: 1,
            ..images(setup, "b", [1, 2, 1], &[3.0, 4.0])
        };
        let parts = [a.shape.clone(), b.shape.clone()];
        let concat = Shape::concat(&[&a.shape, &b.shape]);
        let out = setup.builder.images("out", &concat);
        let dout = setup.builder.images("dout", &concat);
        setup.forward(Step::Concat {
            sources: vec![a, b],
            out,
            shape: concat.clone(),
        });
        let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        setup.result_with(out, dout, literal(&numbers));
        for (first_plane, (name, part)) in ["da", "db"].into_iter().zip(parts).enumerate() {
            let copy = Contribution::Copy {
                dout,
                shape: concat.clone(),
                first_plane,
            };
            gather(setup, name, &part, vec![copy]);
        }
    });
    expect(&outputs, "out", &[1.0, 2.0, 0.0, 0.0, 3.0, 0.0, 4.0, 0.0]);
    expect(&outputs, "da", &[1.0, 2.0]);
    expect(&outputs, "db", &[5.0, 7.0]);
}

/// Three consumers of one pixel: 3 · 2 from a convolution, 5 from the average, 7 from a copy.
#[test]
fn a_gradient_is_gathered_from_all_consumers() {
    let outputs = run(1, [1, 0], |setup| {
        setup.weights(literal(&[3.0]));
        let x = images(setup, "x", [1, 1, 1], &[1.0]);
        let shape = x.shape.clone();
        let conv = (setup.builder).conv("conv", vec![x], [1, 1], [1, 1], &shape, span(0, 1));
        let y = setup.builder.plan().conv(conv).y;
        setup.fill(y, literal(&[2.0]));
        let dfeatures = setup.values("dfeatures", 1, literal(&[5.0]));
        let dout = setup.images("dout", &shape, literal(&[7.0]));
        let contributions = vec![
            Contribution::Conv { conv, source: 0 },
            Contribution::GlobalAveragePool {
                dfeatures,
                first_feature: 0,
                n_features: 1,
                pixels: 1,
            },
            Contribution::Copy {
                dout,
                shape: shape.clone(),
                first_plane: 0,
            },
        ];
        gather(setup, "dx", &shape, contributions);
    });
    expect(&outputs, "dx", &[18.0]);
}
