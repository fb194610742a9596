//! Plans at the limits of what the contract and the settings allow: their grids are ones that a GPU
//! takes. No kernel runs, and no memory is needed, but for one case that is executed.

use std::collections::{BTreeMap, BTreeSet};

use crate::cases::{Case, Data, Setup, Tolerance, compare};
use nas_engine::device::cuda::Cuda;
use nas_engine::device::cuda::driver::Limits;
use nas_engine::device::reference::Reference;
use nas_engine::device::{Control, Convolution, Device, List};
use nas_engine::graph::language::{
    INITIAL, LanguageModel, LanguageSettings, MAX_HIDDEN, MAX_VOCABULARY,
};
use nas_engine::graph::recurrent::Dropout;
use nas_engine::graph::step::{Contribution, Pool, PoolKind, Source, Step};
use nas_engine::graph::{Graph, MAX_CHANNELS, MAX_TENSORS, Options, Params, Plan, Shape};
use nas_engine::space::{CellArchitecture, ConvArchitecture, Layer, LayerOp};

use super::comments::text::comments;
use super::host::{Host, MODES, PROCESSORS, PROFILES, kernels};
use super::idle::Idle;
use super::ops::run;

/// Images of a batch, and rows, at most.
const BATCH: usize = 16_384;
/// Blocks along each axis of a grid at most.
const GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];

/// Of each kernel the largest extents of its grids.
type Grids = BTreeMap<&'static str, [u32; 3]>;

/// Makes the launches of a plan, and checks what a GPU refuses.
fn launch(grids: &mut Grids, what: &str, limits: Limits, plan: &dyn Fn(&Cuda) -> Plan) {
    let idle = Idle::new(limits);
    let launched = idle.launched();
    let cuda = Cuda::new(Box::new(idle));
    let plan = plan(&cuda);
    let session = cuda.load(&plan, None);
    let mut session = session.unwrap_or_else(|e| panic!("{what}: {e}"));
    session.begin(&[], Control::EVALUATE);
    for list in [List::Prepare, List::Train, List::Evaluate] {
        session.run(list, 1);
    }
    session.results().expect("nothing fails");
    for launch in launched.lock().expect("no thread panicked with it").iter() {
        let kernel = launch.kernel;
        let sound = (launch.grid.iter().zip(GRID)).all(|(&n, most)| (1..=most).contains(&n));
        assert!(sound, "{what}: {kernel} by a grid of {:?}", launch.grid);
        let shared = launch.shared_bytes as usize;
        // Products by tensor cores take what every GPU has.
        let most = limits.shared_bytes.max(PROFILES[0]);
        assert!(shared <= most, "{what}: {kernel} with {shared} bytes");
        let largest = grids.entry(kernel).or_default();
        for (largest, &n) in largest.iter_mut().zip(&launch.grid) {
            *largest = n.max(*largest);
        }
    }
}

/// Convolutions that read the image, of so many filters each.
fn base(n: usize, filters: usize) -> Vec<Layer> {
    let conv = Layer {
        op: LayerOp::Conv {
            filter: [1, 1],
            filters,
            stride: [1, 1],
        },
        inputs: vec![0],
    };
    vec![conv; n]
}

/// Operations that pass their channels on.
fn passing() -> [LayerOp; 4] {
    let (pool, stride) = ([1, 1], [1, 1]);
    [
        LayerOp::BatchNorm,
        LayerOp::MaxPool { pool, stride },
        LayerOp::AvgPool { pool, stride },
        LayerOp::Lcn,
    ]
}

/// Convolutions of the smallest and the largest filters, numbers and strides.
fn convolutions() -> [LayerOp; 4] {
    let conv = |side, filters, stride| LayerOp::Conv {
        filter: [side; 2],
        filters,
        stride: [stride; 2],
    };
    [
        conv(1, 1, 1),
        conv(15, 1, 8),
        conv(15, 4096, 1),
        conv(15, 4096, 8),
    ]
}

/// Layers of an operation that each read all before them, so that the last has as many tensors as it
/// may, of so many channels each.
fn doubling(op: LayerOp, filters: usize) -> Vec<Layer> {
    let most = (MAX_CHANNELS / filters).min(MAX_TENSORS);
    let mut layers = base(16, filters);
    let mut tensors = vec![1; layers.len()];
    while tensors.last() < Some(&most) {
        // The largest first, as many as fit.
        let (mut inputs, mut n) = (vec![], 0);
        for layer in (0..layers.len()).rev() {
            if n + tensors[layer] <= most {
                n += tensors[layer];
                inputs.insert(0, layer + 1);
            }
        }
        layers.push(Layer { op, inputs });
        tensors.push(n);
    }
    layers
}

/// Tensors of as many channels as can be, that the classifier or a convolution reads.
fn widest() -> Vec<(String, Vec<Layer>)> {
    let mut networks = vec![];
    for op in passing() {
        let layers = doubling(op, 4096);
        // What reads it differs by whether it is a normalisation's result.
        let is_read = matches!(op, LayerOp::BatchNorm | LayerOp::MaxPool { .. });
        for conv in convolutions().into_iter().filter(|_| is_read) {
            let inputs = vec![layers.len()];
            let reader = Layer { op: conv, inputs };
            let layers = layers.iter().cloned().chain([reader]).collect();
            networks.push((format!("{op:?} for {conv:?}"), layers));
        }
        networks.push((format!("{op:?}"), layers));
        // Of each tensor the last plane is all but empty: the most planes.
        networks.push((format!("{op:?}, most planes"), doubling(op, 257)));
    }
    networks
}

fn networks(grids: &mut Grids) {
    let mut networks = widest();
    networks.extend(convolutions().map(|op| {
        let inputs = vec![0];
        (format!("{op:?}"), vec![Layer { op, inputs }])
    }));
    for (name, layers) in networks {
        let architecture = ConvArchitecture {
            layers,
            learning_rate: None,
        };
        let graph = Graph::new(&architecture, 10).unwrap_or_else(|e| panic!("{name}: {e}"));
        let params = Params::new(&graph);
        for shared_bytes in PROFILES {
            let limits = Limits {
                shared_bytes,
                processors: PROCESSORS,
            };
            launch(grids, &format!("{name}, {limits:?}"), limits, &|cuda| {
                Plan::new(&graph, &params, cuda, Options::new(BATCH))
            });
        }
    }
}

/// LSTM layers, by windows and by steps.
fn language(grids: &mut Grids, batch: usize, steps: usize, hidden: usize, vocabulary: usize) {
    let settings = LanguageSettings {
        layers: 2,
        hidden,
        vocabulary,
        tied: false,
        dropout: Dropout {
            rate: 0.5,
            variational: false,
        },
        initial: INITIAL,
    };
    let model = LanguageModel::new(&CellArchitecture::Lstm, settings).expect("sound settings");
    let (params, spans) = model.params();
    for processors in [0, 132] {
        let limits = Limits {
            shared_bytes: PROFILES[2],
            processors,
        };
        let what = format!("{batch} rows, {steps} steps, {hidden} units, {vocabulary} words");
        launch(grids, &what, limits, &|cuda| {
            Plan::of_language(&model, (&params, &spans), cuda, Options::new(batch), steps)
        });
    }
}

/// The name without what tells the kernels of a template apart.
fn stem(kernel: &str) -> &str {
    let kernel = kernel.trim_end_matches("_small").trim_end_matches("_large");
    kernel.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_')
}

/// Kernels of the controller's policy: a block a sample, of which a launch has a few, or for 256 of
/// its weights, whose number is 32 bits.
const POLICY: [&str; 4] = [
    "policy_fwd",
    "policy_bwd",
    "policy_bwd_weights",
    "adam_step",
];

#[test]
fn every_launch_at_the_limits_of_the_contract_is_one_that_a_gpu_takes() {
    let mut grids = Grids::new();
    networks(&mut grids);
    let n_wide = grids.values().filter(|grid| grid[0] > GRID[1]).count();
    // The most places that kernels take, the largest vocabulary, the widest layers.
    language(&mut grids, 8192, 1024, 64, 10);
    language(&mut grids, 2, 3, 64, MAX_VOCABULARY);
    language(&mut grids, 2, 3, MAX_HIDDEN, 10);
    println!("the largest grids:");
    for (kernel, grid) in &grids {
        println!("  {kernel:<26} {grid:?}");
    }
    assert!(n_wide > 10, "{n_wide} kernels have a block a plane");
    let launched: BTreeSet<&str> = grids.keys().map(|kernel| stem(kernel)).collect();
    let all = comments();
    let all: BTreeSet<&str> = all.keys().map(|kernel| stem(kernel)).collect();
    let missing: Vec<&&str> = all.difference(&launched).collect();
    assert!(
        missing.iter().all(|kernel| POLICY.contains(kernel)),
        "no plan at the limits launches {missing:?}"
    );
}

/// Pooling, a copied concatenation and global average pooling of more planes than a grid has blocks
/// along y or z, and the gradients back.
fn wide() -> Case {
    let shape = Shape::new(8 * (GRID[1] as usize + 2), 1, 1);
    let name = format!("{} planes", shape.planes());
    Case::new(
        ("limits", name),
        1,
        [0, 0],
        Tolerance::new(1.0 / 64.0),
        move |setup| {
            let x = setup.images("x", &shape, Data::Integers(100));
            let image = |setup: &mut Setup, name: &str| setup.builder.images(name, &shape);
            let [pooled, copied, dcopied, dx] =
                ["pooled", "copied", "dcopied", "dx"].map(|name| image(setup, name));
            let pool = Pool {
                kind: PoolKind::Max,
                window: [1, 1],
                stride: [1, 1],
                x,
                input: shape.clone(),
                out: pooled,
                output: shape.clone(),
            };
            setup.forward(Step::Pool(pool.clone()));
            let source = Source {
                buffer: pooled,
                shape: shape.clone(),
                first_channel: 0,
            };
            setup.forward(Step::Concat {
                sources: vec![source],
                out: copied,
                shape: shape.clone(),
            });
            setup.result(copied, dcopied);
            let dfeatures = setup.builder.values("dfeatures", shape.c());
            setup.fill(dfeatures, Data::Integers(100));
            let copy = Contribution::Copy {
                dout: dcopied,
                shape: shape.clone(),
                first_plane: 0,
            };
            let average = Contribution::GlobalAveragePool {
                dfeatures,
                first_feature: 0,
                n_features: shape.c(),
                pixels: 1,
            };
            let dpooled = dcopied;
            setup.backward(Step::Gather {
                out: dx,
                shape: shape.clone(),
                contributions: vec![
                    copy,
                    average,
                    Contribution::Pool {
                        pool,
                        dout: dpooled,
                    },
                ],
                norm: None,
            });
            setup.output_backward(dx);
        },
    )
}

#[test]
fn more_planes_than_a_grid_has_blocks_along_y_are_computed() {
    let case = wide();
    let cuda = Cuda::new(Box::new(Host::new(kernels(), MODES[0], PROFILES[0])));
    let expected = run(&case, &Reference, 1).expect("the reference runs it");
    let got = run(&case, &cuda, 1).expect("the kernels run it");
    compare(&expected, &got, &case.tolerance, Convolution::Direct).expect("they agree");
}
