//! Language model to plan: the steps of training and evaluation over a window of text.

use super::*;
use crate::graph::language::{LanguageModel, LayerSpans, Spans};
use crate::graph::recurrent::{Decoder, Embedding, Recurrent, Stack};

/// Plans windows of `steps` words of each of `options.batch` rows.
pub(super) fn build(
    model: &LanguageModel,
    spans: &Spans,
    n_trained: usize,
    storage: &dyn Storage,
    options: Options,
    steps: usize,
) -> Plan {
    let hidden = model.settings.hidden;
    let options = Options {
        momentum: false,
        ..options
    };
    let mut builder = Builder::new(storage, options, n_trained, 0);
    let inputs = builder.values("words", steps);
    let targets = builder.values("targets", steps);
    let embedding = Embedding {
        tokens: inputs,
        out: builder.values("embedded", steps * hidden),
        dout: builder.values("gradient to embedded", steps * hidden),
        n: steps * options.batch,
        hidden,
        weight: spans.embedding,
        tied: model.settings.tied,
    };
    let layers = (1..).zip(&spans.layers);
    let stack = Stack {
        program: model.program.clone(),
        steps,
        rows: options.batch,
        hidden,
        layers: layers
            .map(|(number, spans)| layer(&mut builder, model, spans, number, steps))
            .collect(),
        dropout: model.settings.dropout,
        input: embedding.out,
        dinput: embedding.dout,
        output: builder.values("output", steps * hidden),
        doutput: builder.values("gradient to output", steps * hidden),
    };
    let decoder = Decoder {
        x: stack.output,
        dx: stack.doutput,
        targets,
        n: steps * options.batch,
        rows: options.batch,
        hidden,
        vocabulary: model.settings.vocabulary,
        weight: spans.decoder,
        bias: spans.decoder_bias,
    };
    let load = Step::LoadTokens {
        inputs,
        targets,
        steps,
    };
    list_steps(builder.plan(), load, embedding, stack, decoder);
    builder.finish()
}

/// The steps of evaluation and of training, in order.
fn list_steps(plan: &mut Plan, load: Step, embedding: Embedding, stack: Stack, decoder: Decoder) {
    let forward = [
        load,
        Step::Embedding(embedding.clone()),
        Step::Unroll(stack.clone()),
    ];
    plan.evaluate.extend(forward.clone());
    plan.evaluate.push(Step::DecoderLoss(decoder.clone()));
    plan.evaluate.push(Step::Advance);
    plan.train.extend(forward);
    plan.train.push(Step::Decoder(decoder));
    plan.train.push(Step::UnrollGrad(stack));
    // After the decoder, whose gradient it adds to where the weights are tied.
    plan.train.push(Step::EmbeddingGrad(embedding));
    plan.train.push(Step::Descend);
}

/// A recurrent layer with its buffers. What the next window begins with is kept.
fn layer(
    builder: &mut Builder,
    model: &LanguageModel,
    spans: &LayerSpans,
    number: usize,
    steps: usize,
) -> Recurrent {
    let hidden = model.settings.hidden;
    let units = model.program.leaves * hidden;
    let rows = builder.options.batch;
    let name = |what: &str| format!("layer {number} {what}");
    let n_states = (steps + 1) * rows * hidden;
    Recurrent {
        inputs: hidden,
        input_weight: spans.input,
        hidden_weight: spans.hidden,
        bias: spans.bias,
        x: builder.values(name("x"), steps * hidden),
        input_products: builder.values(name("input products"), steps * units),
        hidden_products: builder.values(name("hidden products"), steps * units),
        h: builder.carry(name("h"), n_states),
        c: builder.carry(name("c"), n_states),
        dx: builder.values(name("gradient to x"), steps * hidden),
        dh: builder.values(name("gradient to h"), steps * hidden),
    }
}
