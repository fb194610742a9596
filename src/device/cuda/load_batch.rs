//! Launches that load views of a batch's records.

use super::declare::{In, Out, Pixel, structs};
use super::epoch::Control;
use super::launches::Launches;
use crate::data::{Augment, IMAGE_BYTES};
use crate::graph::step::BufferId;

structs! {
    /// Of `load_batch`.
    struct LoadBatchArgs {
        records: In<u8>,
        order: In<u32>,
        control: In<Control>,
        counters: Out<i32>,
        images: Out<Pixel>,
        labels: Out<i32>,
        seed: u64,
        batch: i32,
        augment: i32,
    }
}

/// A kind of views in the kernel.
fn of_augment(augment: Augment) -> usize {
    match augment {
        Augment::UpsampleCrop => 0,
        Augment::PadCrop => 1,
        Augment::None => 2,
    }
}

/// Numbers that `kernels/` defines too.
pub fn constants() -> Vec<(&'static str, String)> {
    [
        ("UPSAMPLE_CROP", of_augment(Augment::UpsampleCrop)),
        ("PAD_CROP", of_augment(Augment::PadCrop)),
        ("NO_AUGMENT", of_augment(Augment::None)),
        ("IMAGE_BYTES", IMAGE_BYTES),
    ]
    .map(|(name, number)| (name, number.to_string()))
    .to_vec()
}

impl Launches<'_> {
    pub(super) fn load_batch(&mut self, images: BufferId) {
        let epoch = self.epoch;
        let args = LoadBatchArgs {
            records: In::at(epoch.records),
            order: In::at(epoch.order),
            control: epoch.control(),
            counters: epoch.counters(),
            images: self.output(images),
            labels: Out::at(epoch.labels),
            seed: epoch.seed,
            batch: self.batch() as i32,
            augment: of_augment(epoch.augment) as i32,
        };
        let shared_bytes = IMAGE_BYTES + 2 * 256 * 4;
        let grid = [self.batch(), 1, 1];
        self.push_shared("load_batch", grid, 256, shared_bytes, &args);
    }
}
