//! What the reference loads, against the words of the contract: pixel by pixel, by another route.

use nas_engine::data::{Augment, Dataset, Draw};
use nas_engine::device::reference::Reference;
use nas_engine::device::{Control, Device, Input, List, Session};
use nas_engine::graph::plan::{Builder, Options, Plan};
use nas_engine::graph::step::{BufferId, Step};
use nas_engine::graph::{IMAGE_CHANNELS, IMAGE_SIZE, Shape};

const SEED: u64 = 11;
const EPOCH: u32 = 2;

fn plan() -> (Plan, BufferId) {
    let mut builder = Builder::new(&Reference, Options::new(1), 0, 0);
    let shape = Shape::new(IMAGE_CHANNELS, IMAGE_SIZE, IMAGE_SIZE);
    let images = builder.images("images", &shape);
    builder.plan().train = vec![Step::LoadBatch { images }, Step::Advance];
    (builder.finish(), images)
}

fn load(session: &mut dyn Session, images: BufferId, record: u32, epoch: Option<u32>) -> Vec<f64> {
    let control = Control {
        learning_rate: 0.0,
        momentum: 0.0,
        weight_decay: 0.0,
        epoch,
    };
    session.begin(&[record], control);
    session.run(List::Train, 1);
    session.read(images)
}

/// Whitened value of a channel's row and column, zero outside.
fn white(image: &[u8], c: usize, row: isize, column: isize) -> f64 {
    let n = image.len() as f64;
    let sum: u64 = image.iter().map(|&x| u64::from(x)).sum();
    let squares: u64 = image.iter().map(|&x| u64::from(x).pow(2)).sum();
    let mean = sum as f64 / n / 255.0;
    let deviation = (squares as f64 / n / 65025.0 - mean * mean).sqrt();
    let inside = |i: isize| usize::try_from(i).ok().filter(|&i| i < 32);
    match (inside(row), inside(column)) {
        (Some(i), Some(j)) => (f64::from(image[(c * 32 + i) * 32 + j]) / 255.0 - mean) / deviation,
        _ => 0.0,
    }
}

/// The 40x40 image at a row and column: between two pixels of a side of 32, in tenths.
fn wide(image: &[u8], c: usize, i: usize, j: usize) -> f64 {
    let taps = |i: usize| {
        let tenths = (8 * i as isize - 1).clamp(0, 310);
        let share = (tenths % 10) as f64 / 10.0;
        let low = tenths / 10;
        [(low, 1.0 - share), ((low + 1).min(31), share)]
    };
    let mut sum = 0.0;
    for (row, down) in taps(i) {
        for (column, along) in taps(j) {
            sum += down * along * white(image, c, row, column);
        }
    }
    sum
}

fn check(augment: Augment, epoch: Option<u32>, pixel: impl Fn(&[u8], Draw, [usize; 3]) -> f64) {
    let dataset = Dataset::synthetic(6, 2, 10, 3);
    let (plan, images) = plan();
    let input = Input {
        dataset: &dataset,
        augment,
        seed: SEED,
    };
    let mut session = Reference.load(&plan, Some(input)).expect("loads");
    let mut flips = 0;
    for record in 0..8 {
        let view = load(&mut *session, images, record, epoch);
        let (_, image) = dataset.record(record as usize);
        let draw = Draw::new(SEED, EPOCH, record);
        flips += usize::from(draw.flip);
        for c in 0..3 {
            for (i, j) in [(0, 0), (0, 31), (3, 17), (16, 2), (31, 0), (31, 31)] {
                let expected = pixel(&image[..], draw, [c, i, j]);
                let got = view[(c * 32 + i) * 32 + j];
                assert!(
                    (got - expected).abs() < 1e-9,
                    "{augment} record {record} channel {c} at {i}, {j}: {got}, not {expected}"
                );
            }
        }
    }
    assert!((1..8).contains(&flips), "both ways are seen");
}

fn column(draw: Draw, j: usize) -> usize {
    if draw.flip { 31 - j } else { j }
}

#[test]
fn upsample_crop() {
    let trained = |image: &[u8], draw: Draw, [c, i, j]: [usize; 3]| {
        let (dy, dx) = (usize::from(draw.dy), usize::from(draw.dx));
        wide(image, c, dy + i, dx + column(draw, j))
    };
    let central = |image: &[u8], _: Draw, [c, i, j]: [usize; 3]| wide(image, c, 4 + i, 4 + j);
    check(Augment::UpsampleCrop, Some(EPOCH), trained);
    check(Augment::UpsampleCrop, None, central);
    check(Augment::None, Some(EPOCH), central);
    check(Augment::None, None, central);
}

#[test]
fn pad_crop() {
    let trained = |image: &[u8], draw: Draw, [c, i, j]: [usize; 3]| {
        let row = (usize::from(draw.dy) + i) as isize - 4;
        let column = (usize::from(draw.dx) + column(draw, j)) as isize - 4;
        white(image, c, row, column)
    };
    let whole =
        |image: &[u8], _: Draw, [c, i, j]: [usize; 3]| white(image, c, i as isize, j as isize);
    check(Augment::PadCrop, Some(EPOCH), trained);
    check(Augment::PadCrop, None, whole);
}
