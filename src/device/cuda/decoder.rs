//! Launches of the softmax over a vocabulary.

use super::declare::{In, Out, structs};
use super::gemm::{ACROSS, BY_STEP, STEP, TILE};
use super::launches::Launches;
use crate::graph::recurrent::Decoder;

structs! {
    /// Of `decoder_logits`, `decoder_places` and `decoder_dlogits`.
    struct DecoderArgs {
        x: In<f32>,
        weight: In<f32>,
        bias: In<f32>,
        targets: In<f32>,
        logits: Out<f32>,
        parts: Out<f32>,
        of_targets: Out<f32>,
        scales: Out<f32>,
        losses: Out<f64>,
        n: i32,
        rows: i32,
        hidden: i32,
        vocabulary: i32,
        n_parts: i32,
        keep: i32,
    }

    /// Of `decoder_loss`.
    struct DecoderLossArgs {
        losses: In<f64>,
        counters: Out<i32>,
        loss_sums: Out<f64>,
        n: i64,
    }

    /// Of `decoder_bwd_data`, `decoder_bwd_data_sum` and `decoder_bwd_filter`.
    struct DecoderGradArgs {
        dlogits: In<f32>,
        x: In<f32>,
        weight: In<f32>,
        partials: Out<f32>,
        dx: Out<f32>,
        dweight: Out<f32>,
        dbias: Out<f32>,
        n: i32,
        hidden: i32,
        vocabulary: i32,
        splits: i32,
        split_words: i32,
        reserved: i32,
    }
}

/// Words of a part of a row.
const PART: usize = 64;
/// Tiles that a product is split into, at most; and words of a split, at least.
const SPLIT_TILES: usize = 264;
const SPLIT_WORDS: usize = 512;

/// Numbers that `kernels/` defines too.
pub fn constants() -> Vec<(&'static str, String)> {
    [("PART", PART)]
        .map(|(name, number)| (name, number.to_string()))
        .to_vec()
}

/// Splits of the sum over the words, and words of each.
fn splits(decoder: &Decoder) -> [usize; 2] {
    let tiles = decoder.n.div_ceil(TILE) * decoder.hidden.div_ceil(TILE);
    let most = decoder.vocabulary.div_ceil(SPLIT_WORDS);
    let splits = (SPLIT_TILES / tiles).clamp(1, most);
    let words = decoder.vocabulary.div_ceil(splits * STEP) * STEP;
    [decoder.vocabulary.div_ceil(words), words]
}

/// Where in the plan's scratch memory everything lies.
struct Room {
    logits: u64,
    parts: u64,
    of_targets: u64,
    scales: u64,
    losses: u64,
    partials: u64,
    /// Of all of it.
    bytes: u64,
}

impl Room {
    fn new(decoder: &Decoder) -> Room {
        let [splits, _] = splits(decoder);
        let n = decoder.n;
        let mut bytes = 0;
        let mut take = |size: usize| {
            let at = bytes;
            bytes += size.next_multiple_of(256) as u64;
            at
        };
        Room {
            logits: take(4 * n * decoder.vocabulary),
            parts: take(8 * n * decoder.vocabulary.div_ceil(PART)),
            of_targets: take(4 * n),
            scales: take(8 * n),
            losses: take(8 * n),
            partials: take(4 * splits * n * decoder.hidden),
            bytes,
        }
    }
}

/// Bytes that the steps of a decoder need while they run.
pub fn scratch_bytes(decoder: &Decoder) -> usize {
    Room::new(decoder).bytes as usize
}

impl Launches<'_> {
    /// The loss; with `keep`, logits stay for the gradients.
    fn decoder_fwd(&mut self, decoder: &Decoder, keep: bool) -> DecoderArgs {
        let plan = self.plan;
        let room = Room::new(decoder);
        let scratch: Out<u8> = self.output(plan.scratch);
        let args = DecoderArgs {
            x: self.input(decoder.x),
            weight: self.input_span(plan.weights, decoder.weight),
            bias: self.input_span(plan.weights, decoder.bias),
            targets: self.input(decoder.targets),
            logits: Out::at(scratch.0 + room.logits),
            parts: Out::at(scratch.0 + room.parts),
            of_targets: Out::at(scratch.0 + room.of_targets),
            scales: Out::at(scratch.0 + room.scales),
            losses: Out::at(scratch.0 + room.losses),
            n: decoder.n as i32,
            rows: decoder.rows as i32,
            hidden: decoder.hidden as i32,
            vocabulary: decoder.vocabulary as i32,
            n_parts: decoder.vocabulary.div_ceil(PART) as i32,
            keep: i32::from(keep),
        };
        let tiles = decoder.n.div_ceil(TILE) * decoder.vocabulary.div_ceil(TILE);
        self.push_shared("decoder_logits", [tiles, 1, 1], 256, 2 * BY_STEP, &args);
        self.push("decoder_places", [decoder.n.div_ceil(8), 1, 1], 256, &args);
        let loss = DecoderLossArgs {
            losses: In::at(args.losses.0),
            counters: self.epoch.counters(),
            loss_sums: Out::at(self.epoch.loss_sums),
            n: decoder.n as i64,
        };
        self.push_shared("decoder_loss", [1, 1, 1], 256, 8 * 8, &loss);
        args
    }

    pub(super) fn decoder_loss(&mut self, decoder: &Decoder) {
        self.decoder_fwd(decoder, false);
    }

    pub(super) fn decoder(&mut self, decoder: &Decoder) {
        let plan = self.plan;
        let forward = self.decoder_fwd(decoder, true);
        let words = decoder.vocabulary.div_ceil(1024);
        let grid = [decoder.n, words, 1];
        self.push("decoder_dlogits", grid, 256, &forward);
        let [splits, split_words] = splits(decoder);
        let scratch: Out<u8> = self.output(plan.scratch);
        let args = DecoderGradArgs {
            dlogits: In::at(forward.logits.0),
            x: forward.x,
            weight: forward.weight,
            partials: Out::at(scratch.0 + Room::new(decoder).partials),
            dx: self.output(decoder.dx),
            dweight: self.output_span(plan.gradients, decoder.weight),
            dbias: self.output_span(plan.gradients, decoder.bias),
            n: forward.n,
            hidden: forward.hidden,
            vocabulary: forward.vocabulary,
            splits: splits as i32,
            split_words: split_words as i32,
            reserved: 0,
        };
        let [n, hidden, vocabulary] = [decoder.n, decoder.hidden, decoder.vocabulary];
        let grid = [n.div_ceil(TILE) * hidden.div_ceil(TILE), 1, splits];
        self.push_shared("decoder_bwd_data", grid, 256, BY_STEP + ACROSS, &args);
        let blocks = (n * hidden).div_ceil(256);
        self.push("decoder_bwd_data_sum", [blocks, 1, 1], 256, &args);
        let tiles = vocabulary.div_ceil(TILE) * (hidden + 1).div_ceil(TILE);
        self.push_shared("decoder_bwd_filter", [tiles, 1, 1], 256, 2 * ACROSS, &args);
    }
}
