//! A graph in the making: operators in order, each with a name that no other has, and constants.

use super::proto::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_GRAPH, ATTRIBUTE_INT, ATTRIBUTE_INTS, AttributeProto,
    DimensionProto, FLOAT, GraphProto, INT64, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};

/// What an operator is told besides its inputs.
pub enum Attribute<'a> {
    Int(&'a str, i64),
    Ints(&'a str, Vec<usize>),
    Float(&'a str, f32),
    Graph(&'a str, GraphProto),
}

/// A size: a number, or a letter for one that only a caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Of(usize),
    Any(&'static str),
    /// Not said: a letter in the body of a `Scan` is another one than the graph's to some readers (tract-onnx
    /// 0.23), which then cannot be told its number.
    Open,
}

/// A graph in the making. Values are known by their names; whoever adds one keeps names apart by a prefix, such
/// as `layer3/`.
#[derive(Default)]
pub struct Builder {
    graph: GraphProto,
}

impl Builder {
    /// Adds an operator with one output, which has its name; that name.
    pub fn node(
        &mut self,
        op: &str,
        name: impl Into<String>,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        let name = name.into();
        self.nodes(op, name.clone(), inputs, vec![name.clone()], attributes);
        name
    }

    /// Adds an operator with these outputs.
    pub fn nodes(
        &mut self,
        op: &str,
        name: String,
        inputs: &[&str],
        outputs: Vec<String>,
        attributes: Vec<Attribute>,
    ) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: outputs,
            name: Some(name),
            op_type: Some(op.to_owned()),
            attribute: attributes.into_iter().map(attribute).collect(),
        });
    }

    /// Adds a constant of numbers; its name.
    pub fn floats(&mut self, name: impl Into<String>, shape: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(name.into(), shape, FLOAT, bytes.collect())
    }

    /// Adds a constant of whole numbers in a row; its name.
    pub fn integers(&mut self, name: impl Into<String>, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(name.into(), &[values.len()], INT64, bytes.collect())
    }

    fn constant(&mut self, name: String, shape: &[usize], kind: i32, bytes: Vec<u8>) -> String {
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: Some(kind),
            name: Some(name.clone()),
            raw_data: Some(bytes),
        });
        name
    }

    /// Adds an input of the graph.
    pub fn input(&mut self, name: &str, kind: i32, shape: &[Size]) {
        self.graph.input.push(value(name, kind, shape));
    }

    /// Says that a value is an output of the graph.
    pub fn output(&mut self, name: &str, kind: i32, shape: &[Size]) {
        self.graph.output.push(value(name, kind, shape));
    }

    /// The same values in another shape, in which one size may be -1, the rest of them.
    pub fn reshape(&mut self, name: impl Into<String>, x: &str, shape: &[i64]) -> String {
        let name = name.into();
        let shape = self.integers(format!("{name}.shape"), shape);
        self.node("Reshape", name, &[x, &shape], vec![])
    }

    /// x W^T + b, of `[m][k]`, `[n][k]` and `[n]`. Where there is no bias zeros are: candle reads no `Gemm` of two
    /// inputs.
    pub fn product(
        &mut self,
        name: impl Into<String>,
        x: &str,
        weight: &str,
        bias: &str,
    ) -> String {
        let inputs = [x, weight, bias];
        self.node("Gemm", name, &inputs, vec![Attribute::Int("transB", 1)])
    }

    /// The graph.
    pub fn finish(mut self, name: &str) -> GraphProto {
        self.graph.name = Some(name.to_owned());
        self.graph
    }
}

fn attribute(of: Attribute) -> AttributeProto {
    let named = |name: &str, kind| AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind),
        ..AttributeProto::default()
    };
    match of {
        Attribute::Int(name, i) => AttributeProto {
            i: Some(i),
            ..named(name, ATTRIBUTE_INT)
        },
        Attribute::Ints(name, ints) => AttributeProto {
            ints: ints.into_iter().map(|int| int as i64).collect(),
            ..named(name, ATTRIBUTE_INTS)
        },
        Attribute::Float(name, f) => AttributeProto {
            f: Some(f),
            ..named(name, ATTRIBUTE_FLOAT)
        },
        Attribute::Graph(name, graph) => AttributeProto {
            g: Some(Box::new(graph)),
            ..named(name, ATTRIBUTE_GRAPH)
        },
    }
}

fn value(name: &str, kind: i32, shape: &[Size]) -> ValueInfoProto {
    let dimension = |size: &Size| match *size {
        Size::Of(n) => DimensionProto {
            dim_value: Some(n as i64),
            dim_param: None,
        },
        Size::Any(letter) => DimensionProto {
            dim_value: None,
            dim_param: Some(letter.to_owned()),
        },
        Size::Open => DimensionProto::default(),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(kind),
                shape: Some(TensorShapeProto {
                    dim: shape.iter().map(dimension).collect(),
                }),
            }),
        }),
    }
}
