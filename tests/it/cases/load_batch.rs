//! Cases of loading records: every view, and a last batch that is smaller.

use super::{Case, Data, LOADED_CLASSES, Tolerance};
use nas_engine::data::Augment;
use nas_engine::graph::step::Step;
use nas_engine::graph::{IMAGE_CHANNELS, IMAGE_SIZE, Shape};

/// Whole numbers times a scale in f32. A loss, which shows the labels, rounds as softmax_xent's.
const TOLERANCE: f64 = 5e-7;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for augment in [Augment::UpsampleCrop, Augment::PadCrop, Augment::None] {
        for epoch in [Some(0), Some(7), None] {
            cases.push(case(augment, epoch, &[3, 1, 19, 23, 0, 28], 3));
        }
        // Two batches, of which the second has two images.
        cases.push(case(augment, None, &[3, 1, 19, 23, 28], 3));
    }
    cases
}

fn case(augment: Augment, epoch: Option<u32>, order: &'static [u32], batch: usize) -> Case {
    let whole = order.len().is_multiple_of(batch);
    let n = order.len();
    let title = (
        "load_batch",
        format!("{augment}, epoch {epoch:?}, {n} records"),
    );
    let shape = Shape::new(IMAGE_CHANNELS, IMAGE_SIZE, IMAGE_SIZE);
    Case::new(
        title,
        batch,
        [0, 0],
        Tolerance::new(TOLERANCE),
        move |setup| {
            setup.dataset(augment, order);
            setup.control().epoch = epoch;
            let images = setup.builder.images("images", &shape);
            let logits = setup.values("logits", LOADED_CLASSES, Data::Normal(0.0, 2.0));
            let dlogits = setup.builder.values("dlogits", LOADED_CLASSES);
            setup.forward(Step::LoadBatch { images });
            setup.forward(Step::SoftmaxXent {
                logits,
                dlogits,
                n_classes: LOADED_CLASSES,
            });
            setup.forward(Step::Advance);
            setup.times(order.len().div_ceil(batch));
            setup.results();
            if whole {
                setup.output(images);
            }
        },
    )
}
