//! A network as a column of boxes, the image above and the softmax below; a line joins a layer to the one after
//! it, and all that skips a layer is an arc beside the column, so that no line crosses a box.

use std::fmt::Write;

use super::quoted;
use super::svg::{BLUE, Canvas, GREEN, GREY, Head, PLAIN, Paint, RED, Rect, Short, Stroke, YELLOW};
use crate::graph::{Costs, Graph, Shape};
use crate::space::LayerOp;
use crate::text;

/// Size of a box, the gap below it, and the margin around all.
const BOX_W: f64 = 250.0;
const BOX_H: f64 = 46.0;
const GAP: f64 = 24.0;
const MARGIN: f64 = 16.0;

/// Colours of arcs, by the layer that they leave.
const ARCS: [&str; 6] = [
    "#3178b5", "#c2563f", "#3a8a4d", "#8a5bb0", "#b48a1c", "#2f8f94",
];

/// A box: the image, a layer or the classifier.
struct Node {
    name: String,
    detail: String,
    paint: Paint,
    /// Shape of what it gives.
    output: Option<Shape>,
    /// What it reads.
    inputs: Vec<usize>,
    /// Height and width of the padded concatenation of that.
    reads: [usize; 2],
}

/// An edge from a node to a later one.
struct Edge {
    from: usize,
    to: usize,
    /// Whether it is padded on the way.
    padded: bool,
}

impl Edge {
    /// By the numbers of the layers, which their boxes have too.
    fn title(&self, nodes: &[Node]) -> String {
        let short = |node: usize| nodes[node].name.split([' ', ',']).next();
        let [from, to] = [self.from, self.to].map(|node| short(node).unwrap_or_default());
        let padded = if self.padded { ", zero-padded" } else { "" };
        format!("{from} → {to}{padded}")
    }
}

/// The drawing as SVG.
pub fn network_svg(graph: &Graph) -> String {
    let nodes = nodes(graph);
    let edges = edges(&nodes);
    let widest = edges.iter().map(reach).fold(0.0, f64::max);
    let mut canvas = Canvas::default();
    for edge in edges.iter().filter(|edge| edge.to == edge.from + 1) {
        let x = MARGIN + BOX_W / 2.0;
        let (from, to) = (top(edge.from) + BOX_H, top(edge.to));
        let stroke = Stroke {
            dashed: edge.padded,
            ..PLAIN
        };
        let (at, from, end) = (Short(x), Short(from), Short(to - 5.0));
        let path = format!("M{at},{from} L{at},{end}");
        let head = Head {
            tip: (x, to - 0.5),
            from: (0.0, -1.0),
        };
        canvas.arrow(&path, head, &stroke, &edge.title(&nodes));
    }
    arcs(&mut canvas, &nodes, &edges);
    for (number, node) in nodes.iter().enumerate() {
        let y = top(number);
        let rect = Rect {
            x: MARGIN,
            y,
            w: BOX_W,
            h: BOX_H,
        };
        let title = format!("{}: {}", node.name, node.detail);
        canvas.rect(rect, node.paint, &title);
        let middle = MARGIN + BOX_W / 2.0;
        canvas.text((middle, y + 19.0), 13, true, &node.name);
        canvas.text((middle, y + 36.0), 11, false, &node.detail);
    }
    let height = top(nodes.len()) - GAP + MARGIN;
    let title = format!("a network of {} layers", graph.layers.len() - 1);
    canvas.finish(2.0 * MARGIN + BOX_W + widest, height, &title)
}

/// The arcs of all that skips a layer, to the right of the boxes. Those that end at one box arrive in its upper
/// half, the nearest source uppermost, and leave in the lower half, the furthest target uppermost: so arcs
/// of one box do not cross.
fn arcs(canvas: &mut Canvas, nodes: &[Node], edges: &[Edge]) {
    let (mut leaving, mut arriving) = (vec![vec![]; nodes.len()], vec![vec![]; nodes.len()]);
    for edge in edges.iter().filter(|edge| edge.to > edge.from + 1) {
        leaving[edge.from].push(edge);
        arriving[edge.to].push(edge.from);
    }
    let x = MARGIN + BOX_W;
    for (from, leaving) in leaving.iter().enumerate() {
        for (rank, edge) in leaving.iter().rev().enumerate() {
            let arriving = &arriving[edge.to];
            let place = arriving.iter().rev().position(|other| *other == from);
            let begin = top(from) + BOX_H * (0.55 + spread(rank, leaving.len()));
            let end = top(edge.to) + BOX_H * (0.1 + spread(place.unwrap_or(0), arriving.len()));
            let stroke = Stroke {
                colour: ARCS[from % ARCS.len()],
                width: 1.3,
                dashed: edge.padded,
            };
            let [left, tip, out] = [x, x + 5.0, x + reach(edge) / 0.75].map(Short);
            let (begin, to) = (Short(begin), Short(end));
            let path = format!("M{left},{begin} C{out},{begin} {out},{to} {tip},{to}");
            let head = Head {
                tip: (x + 0.5, end),
                from: (1.0, 0.0),
            };
            canvas.arrow(&path, head, &stroke, &edge.title(nodes));
        }
    }
}

/// Where one of `n` ends of arcs lies in its part of a box's side, in heights of the box.
fn spread(place: usize, n: usize) -> f64 {
    0.36 * (place as f64 + 0.5) / n as f64
}

/// How far an arc goes to the right of the boxes: the longer the further.
fn reach(edge: &Edge) -> f64 {
    match edge.to - edge.from {
        0 | 1 => 0.0,
        rows => 14.0 + 17.0 * (rows as f64).powf(0.75),
    }
}

/// Upper side of a box.
fn top(number: usize) -> f64 {
    MARGIN + number as f64 * (BOX_H + GAP)
}

/// The drawing as Graphviz DOT.
pub fn network_dot(graph: &Graph) -> String {
    let nodes = nodes(graph);
    let mut dot = String::from(
        "digraph network {\n  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", \
         fontname=\"Helvetica\", fontsize=11];\n  edge [color=\"#52606d\"];\n",
    );
    for (number, node) in nodes.iter().enumerate() {
        let label = quoted(&format!("{}\n{}", node.name, node.detail));
        let Paint { fill, edge } = node.paint;
        // A string takes all that is written to it, here and below.
        let _ = writeln!(
            dot,
            "  n{number} [label={label}, fillcolor=\"{fill}\", color=\"{edge}\"];"
        );
    }
    for edge in edges(&nodes) {
        let dashed = match edge.padded {
            true => " [style=dashed, tooltip=\"zero-padded\"]",
            false => "",
        };
        let _ = writeln!(dot, "  n{} -> n{}{dashed};", edge.from, edge.to);
    }
    dot + "}\n"
}

fn edges(nodes: &[Node]) -> Vec<Edge> {
    let into = |(to, node): (usize, &Node)| -> Vec<Edge> {
        let edge = |&from: &usize| Edge {
            from,
            to,
            padded: nodes[from]
                .output
                .as_ref()
                .is_some_and(|output| [output.h, output.w] != node.reads),
        };
        node.inputs.iter().map(edge).collect()
    };
    nodes.iter().enumerate().flat_map(into).collect()
}

fn nodes(graph: &Graph) -> Vec<Node> {
    let costs = Costs::new(graph);
    let mut nodes = vec![];
    for (number, layer) in graph.layers.iter().enumerate() {
        let Shape { h, w, .. } = layer.output;
        let shape = format!("{}x{h}x{w}", layer.output.c());
        let cost = number.checked_sub(1).map(|at| costs.layers[at].parameters);
        let detail = match cost {
            Some(parameters) if parameters > 0 => {
                format!("{shape} · {} parameters", text::count(parameters))
            }
            _ => shape,
        };
        let (name, paint) = match &layer.op {
            None => ("image".to_owned(), GREY),
            Some(op) => {
                let (words, paint) = words(op);
                (format!("{number}  {words}"), paint)
            }
        };
        nodes.push(Node {
            name,
            detail,
            paint,
            output: Some(layer.output.clone()),
            inputs: layer.inputs.clone(),
            reads: [layer.input.h, layer.input.w],
        });
    }
    nodes.push(Node {
        name: format!("average, softmax of {} classes", graph.classes),
        detail: format!(
            "{} features · {} parameters",
            text::count(graph.features() as u64),
            text::count(costs.classifier.parameters)
        ),
        paint: GREY,
        output: None,
        inputs: graph.classifier_inputs.clone(),
        reads: [graph.classifier_input.h, graph.classifier_input.w],
    });
    nodes
}

fn words(op: &LayerOp) -> (String, Paint) {
    let pool =
        |word, [kh, kw]: [usize; 2], stride| format!("{word} {kh}x{kw}{}", stride_of(stride));
    match *op {
        LayerOp::Conv {
            filter: [kh, kw],
            filters,
            stride,
        } => {
            let words = format!("conv {kh}x{kw}, {filters} filters{}", stride_of(stride));
            (words, BLUE)
        }
        LayerOp::MaxPool { pool: p, stride } => (pool("max pool", p, stride), GREEN),
        LayerOp::AvgPool { pool: p, stride } => (pool("average pool", p, stride), GREEN),
        LayerOp::Lcn => ("local contrast normalisation".to_owned(), YELLOW),
        LayerOp::BatchNorm => ("batch normalisation".to_owned(), RED),
    }
}

fn stride_of(stride: [usize; 2]) -> String {
    match stride {
        [1, 1] => String::new(),
        [sh, sw] if sh == sw => format!(", stride {sh}"),
        [sh, sw] => format!(", stride {sh}x{sw}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::ConvArchitecture;

    fn graph() -> Graph {
        let json = r#"{"space":"conv","layers":[
            {"filter":[3,5],"filters":24,"stride":[2,2],"inputs":[0]},
            {"type":"max_pool","pool":[2,2],"stride":[2,1],"inputs":[1]},
            {"type":"avg_pool","pool":[3,2],"stride":[1,1],"inputs":[0]},
            {"type":"lcn","inputs":[1,2]},
            {"type":"batch_norm","inputs":[0,4]}]}"#;
        Graph::new(&ConvArchitecture::from_json(json).unwrap(), 7).unwrap()
    }

    #[test]
    fn every_box_and_every_edge_is_drawn() {
        let svg = network_svg(&graph());
        for words in [
            "1  conv 3x5, 24 filters, stride 2",
            "2  max pool 2x2, stride 2x1",
            "3  average pool 3x2",
            "softmax of 7 classes",
        ] {
            assert!(svg.contains(words), "{words}\n{svg}");
        }
        // Nine edges: four to the next box, five arcs, and a box each of seven.
        assert_eq!(svg.matches("→").count(), 9, "{svg}");
        assert_eq!(svg.matches(" C").count(), 5, "{svg}");
        assert_eq!(svg.matches("rx=").count(), 7);
        // 24x16x16 and 24x8x15 join as 16x16.
        assert_eq!(svg.matches("zero-padded").count(), 3, "{svg}");
    }

    #[test]
    fn arcs_stay_beside_the_boxes() {
        let svg = network_svg(&graph());
        let right = MARGIN + BOX_W;
        for path in svg
            .split("<path d=\"M")
            .skip(1)
            .filter(|path| path.contains(" C"))
        {
            let path = path.split('"').next().unwrap().replace([' ', 'C'], ",");
            let numbers = path.split(',').filter(|text| !text.is_empty());
            let numbers: Vec<f64> = numbers.map(|text| text.parse().unwrap()).collect();
            // A curve lies between its control points.
            assert!(numbers.iter().step_by(2).all(|&x| x >= right), "{path}");
        }
    }

    #[test]
    fn dot_has_the_same_edges() {
        let dot = network_dot(&graph());
        assert_eq!(dot.matches(" -> ").count(), 9, "{dot}");
        assert!(dot.contains("n2 -> n4 [style=dashed"), "{dot}");
        assert!(dot.contains("n5 -> n6"), "{dot}");
    }
}
