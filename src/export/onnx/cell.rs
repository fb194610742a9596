//! A language model as ONNX: tokens and states in, logits and states out. The steps are written out one after the
//! other, or, on request, are a `Scan`. All products are of two axes, with weights as PyTorch has them.

use super::builder::{Attribute, Builder, Size};
use super::proto::{FLOAT, GraphProto, INT64};
use crate::export::model::CellModel;
use crate::graph::language::LayerSpans;
use crate::graph::recurrent::{Operand, Program};
use crate::graph::step::Span;
use crate::space::cell::{Activation, Combination};

/// How the steps of a window are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// So many, one after the other.
    Unrolled(usize),
    /// As many as the caller has, by `Scan`.
    Scan,
}

/// Names of inputs and outputs.
const TOKENS: &str = "tokens";
const STATES: [&str; 2] = ["h", "c"];
const LOGITS: &str = "logits";
const NEXT: [&str; 2] = ["h_next", "c_next"];

/// The graph of a language model.
pub fn graph(model: &CellModel, steps: Steps) -> GraphProto {
    let settings = &model.model.settings;
    let (hidden, vocabulary) = (settings.hidden, settings.vocabulary);
    let time = match steps {
        Steps::Unrolled(n) => Size::Of(n),
        Steps::Scan => Size::Any("T"),
    };
    let rows = Size::Any("B");
    let mut builder = Builder::default();
    builder.input(TOKENS, INT64, &[time, rows]);
    let state = [Size::Of(settings.layers), rows, Size::Of(hidden)];
    for name in STATES {
        builder.input(name, FLOAT, &state);
    }
    let mut writer = Writer {
        model,
        builder,
        steps,
    };
    writer.write();
    let mut builder = writer.builder;
    builder.output(LOGITS, FLOAT, &[time, rows, Size::Of(vocabulary)]);
    for name in NEXT {
        builder.output(name, FLOAT, &state);
    }
    builder.finish("language_model")
}

struct Writer<'a> {
    model: &'a CellModel,
    builder: Builder,
    steps: Steps,
}

/// A layer while it is written.
struct Layer {
    prefix: String,
    hidden_weight: String,
    /// Zeros, a unit each.
    no_bias: String,
}

impl Writer<'_> {
    fn write(&mut self) {
        let settings = &self.model.model.settings;
        let (hidden, vocabulary) = (settings.hidden, settings.vocabulary);
        let (wide, spans) = (hidden as i64, &self.model.spans);
        let embedding = self.weights("embedding.weight", &[vocabulary, hidden], spans.embedding);
        let axis = vec![Attribute::Int("axis", 0)];
        let embedded = self
            .builder
            .node("Gather", "embedded", &[&embedding, TOKENS], axis);
        let mut x = self.builder.reshape("embedded2", &embedded, &[-1, wide]);
        let first: Vec<Vec<String>> = STATES.map(|name| self.parts(name, settings.layers)).into();
        let mut last = [vec![], vec![]];
        for (layer, spans) in spans.layers.iter().enumerate() {
            let states = [first[0][layer].as_str(), first[1][layer].as_str()];
            let [out, h, c] = self.layer(layer + 1, spans, &x, states);
            x = out;
            last[0].push(h);
            last[1].push(c);
        }
        for (name, states) in NEXT.iter().zip(&last) {
            self.joined(name, states);
        }
        let decoder = match settings.tied {
            true => embedding,
            false => self.weights("decoder.weight", &[vocabulary, hidden], spans.decoder),
        };
        let bias = self.weights("decoder.bias", &[vocabulary], spans.decoder_bias);
        let logits = self.builder.product("decoded", &x, &decoder, &bias);
        let shape = match self.steps {
            Steps::Unrolled(steps) => vec![steps as i64, -1, vocabulary as i64],
            Steps::Scan => {
                // Two sizes that the caller knows: the rows are those of the state.
                return self.as_window(LOGITS, &logits, vocabulary);
            }
        };
        self.builder.reshape(LOGITS, &logits, &shape);
    }

    /// `[t b][k]` as `[t][b][k]`, where only the caller knows t and b: of the shape of the tokens.
    fn as_window(&mut self, name: &str, x: &str, k: usize) {
        let sizes = self
            .builder
            .node("Shape", format!("{name}.sizes"), &[TOKENS], vec![]);
        let last = self.builder.integers(format!("{name}.last"), &[k as i64]);
        let axis = vec![Attribute::Int("axis", 0)];
        let shape = format!("{name}.shape");
        let shape = self.builder.node("Concat", shape, &[&sizes, &last], axis);
        self.builder.node("Reshape", name, &[x, &shape], vec![]);
    }

    /// A layer over the window: what it gives `[t b][h]`, and the states that it ends with `[b][h]`.
    fn layer(
        &mut self,
        number: usize,
        spans: &LayerSpans,
        x: &str,
        states: [&str; 2],
    ) -> [String; 3] {
        let hidden = self.model.model.settings.hidden;
        let units = self.model.model.program.leaves * hidden;
        let name = |what: &str| format!("layers.{number}.{what}");
        let input_weight = self.weights(&name("input.weight"), &[units, hidden], spans.input);
        let hidden_weight = self.weights(&name("hidden.weight"), &[units, hidden], spans.hidden);
        let no_bias = self
            .builder
            .floats(name("no_bias"), &[units], &vec![0.0; units]);
        let bias = match spans.bias {
            Some(span) => self.weights(&name("bias"), &[units], span),
            None => no_bias.clone(),
        };
        let layer = Layer {
            prefix: format!("layer{number}/"),
            hidden_weight,
            no_bias,
        };
        let products = format!("{}input", layer.prefix);
        let products = self.builder.product(products, x, &input_weight, &bias);
        match self.steps {
            Steps::Unrolled(1) => {
                let [h, c] = self.step(&layer, &layer.prefix, &products, states);
                [h.clone(), h, c]
            }
            Steps::Unrolled(steps) => self.unrolled(&layer, steps, &products, states),
            Steps::Scan => self.scan(&layer, &products, units, states),
        }
    }

    fn unrolled(
        &mut self,
        layer: &Layer,
        steps: usize,
        products: &str,
        [h, c]: [&str; 2],
    ) -> [String; 3] {
        let prefix = &layer.prefix;
        let wide = self.model.model.settings.hidden as i64;
        let units = self.model.model.program.leaves as i64 * wide;
        let name = format!("{prefix}window");
        let window = self
            .builder
            .reshape(name, products, &[steps as i64, -1, units]);
        let parts = self.split(&format!("{prefix}steps"), &window, 0, &vec![1; steps]);
        let (mut h, mut c, mut all) = (h.to_owned(), c.to_owned(), vec![]);
        for (step, part) in parts.iter().enumerate() {
            let prefix = format!("{prefix}step{step}/");
            let products = self
                .builder
                .reshape(format!("{prefix}input"), part, &[-1, units]);
            [h, c] = self.step(layer, &prefix, &products, [&h, &c]);
            all.push(h.clone());
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let axis = vec![Attribute::Int("axis", 0)];
        let joined = format!("{prefix}outputs");
        [self.builder.node("Concat", joined, &all, axis), h, c]
    }

    /// The steps as a `Scan`, whose body is one of them.
    fn scan(
        &mut self,
        layer: &Layer,
        products: &str,
        units: usize,
        states: [&str; 2],
    ) -> [String; 3] {
        let prefix = &layer.prefix;
        let hidden = self.model.model.settings.hidden;
        let name = |what: &str| format!("{prefix}{what}");
        self.as_window(&name("window"), products, units);
        let mut body = Writer {
            model: self.model,
            builder: Builder::default(),
            steps: self.steps,
        };
        let rows = Size::Open;
        let [h, c, x] = ["body.h", "body.c", "body.x"].map(name);
        body.builder.input(&h, FLOAT, &[rows, Size::Of(hidden)]);
        body.builder.input(&c, FLOAT, &[rows, Size::Of(hidden)]);
        body.builder.input(&x, FLOAT, &[rows, Size::Of(units)]);
        let [h_next, c_next] = body.step(layer, &name("body/"), &x, [&h, &c]);
        // Every output has a name of its own: h is a state and a row of what is gathered, and may be c.
        let [gathered, state] = ["body.out", "body.c_next"].map(name);
        for (copy, of) in [(&gathered, &h_next), (&state, &c_next)] {
            body.builder.node("Identity", copy, &[of], vec![]);
        }
        for output in [&h_next, &state, &gathered] {
            body.builder
                .output(output, FLOAT, &[rows, Size::Of(hidden)]);
        }
        let body = body.builder.finish(&name("body"));
        let outputs = ["h_last", "c_last", "all"].map(name);
        let [h, c] = states;
        self.builder.nodes(
            "Scan",
            name("scan"),
            &[h, c, &name("window")],
            outputs.to_vec(),
            vec![
                Attribute::Graph("body", body),
                Attribute::Int("num_scan_inputs", 1),
            ],
        );
        let [h_last, c_last, all] = outputs;
        let shape = [-1, hidden as i64];
        let out = self.builder.reshape(name("outputs"), &all, &shape);
        [out, h_last, c_last]
    }

    /// One step of a layer: the next h and c, `[b][h]`, from the products of its input.
    fn step(&mut self, layer: &Layer, prefix: &str, input: &str, [h, c]: [&str; 2]) -> [String; 2] {
        let hidden = self.model.model.settings.hidden;
        let program: &Program = &self.model.model.program;
        let name = |what: &str| format!("{prefix}{what}");
        let (weight, bias) = (&layer.hidden_weight, &layer.no_bias);
        let products = self.builder.product(name("hidden"), h, weight, bias);
        let sizes = vec![hidden as i64; program.leaves];
        let inputs = self.split(&name("w"), input, 1, &sizes);
        let hiddens = self.split(&name("u"), &products, 1, &sizes);
        let (mut zs, mut values): (Vec<String>, Vec<String>) = (vec![], vec![]);
        for (number, instruction) in program.instructions.iter().enumerate() {
            let operand = |operand| match operand {
                Operand::Input(leaf) => inputs[leaf].clone(),
                Operand::Hidden(leaf) => hiddens[leaf].clone(),
                Operand::Value(earlier) => values[earlier].clone(),
                Operand::State => c.to_owned(),
            };
            let (left, right) = (operand(instruction.left), operand(instruction.right));
            let op = match instruction.combination {
                Combination::Add => "Add",
                Combination::ElemMult => "Mul",
                Combination::Max => "Max",
            };
            let z = name(&format!("z{number}"));
            let z = self.builder.node(op, z, &[&left, &right], vec![]);
            let op = match instruction.activation {
                Activation::Identity => None,
                Activation::Tanh => Some("Tanh"),
                Activation::Sigmoid => Some("Sigmoid"),
                Activation::Relu => Some("Relu"),
                Activation::Sin => Some("Sin"),
            };
            values.push(match op {
                None => z.clone(),
                Some(op) => {
                    let value = name(&format!("a{number}"));
                    self.builder.node(op, value, &[&z], vec![])
                }
            });
            zs.push(z);
        }
        [values[program.output].clone(), zs[program.state].clone()]
    }

    /// The states of the layers, `[b][h]` each, of `[layers][b][h]`.
    fn parts(&mut self, name: &str, layers: usize) -> Vec<String> {
        let wide = self.model.model.settings.hidden as i64;
        let parts = match layers {
            1 => vec![name.to_owned()],
            _ => self.split(&format!("{name}.layers"), name, 0, &vec![1; layers]),
        };
        let flat = |(layer, part): (usize, &String)| {
            let name = format!("{name}.layer{}", layer + 1);
            self.builder.reshape(name, part, &[-1, wide])
        };
        parts.iter().enumerate().map(flat).collect()
    }

    /// The states of the layers in one tensor `[layers][b][h]`.
    fn joined(&mut self, name: &str, states: &[String]) {
        let wide = self.model.model.settings.hidden as i64;
        let shape = [1, -1, wide];
        if let [one] = states {
            self.builder.reshape(name, one, &shape);
            return;
        }
        let mut parts = vec![];
        for (layer, state) in states.iter().enumerate() {
            let name = format!("{name}.layer{}", layer + 1);
            parts.push(self.builder.reshape(name, state, &shape));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let axis = vec![Attribute::Int("axis", 0)];
        self.builder.node("Concat", name, &parts, axis);
    }

    /// A tensor cut along an axis.
    fn split(&mut self, name: &str, x: &str, axis: i64, sizes: &[i64]) -> Vec<String> {
        let outputs: Vec<String> = (0..sizes.len()).map(|i| format!("{name}.{i}")).collect();
        let sizes = self.builder.integers(format!("{name}.sizes"), sizes);
        self.builder.nodes(
            "Split",
            name.to_owned(),
            &[x, &sizes],
            outputs.clone(),
            vec![Attribute::Int("axis", axis)],
        );
        outputs
    }

    fn weights(&mut self, name: &str, shape: &[usize], span: Span) -> String {
        let values = &self.model.weights.trained[span.range()];
        self.builder.floats(name, shape, values)
    }
}
