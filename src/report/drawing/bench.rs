//! A cell of NAS-Bench-201: four nodes in a row, and what each edge between them does.

use std::fmt::Write;

use super::quoted;
use super::svg::{BLUE, Canvas, GREEN, GREY, Head, PLAIN, Rect};
use crate::space::BenchCell;
use crate::space::nas_bench_201::EdgeOperation;

/// Nodes of a cell.
const NODES: usize = 4;

/// Size of a box, distance of middles, and the margin around all.
const BOX_W: f64 = 64.0;
const BOX_H: f64 = 34.0;
const COLUMN: f64 = 190.0;
const MARGIN: f64 = 18.0;

/// Height that an edge goes up for each node that it passes.
const RISE: f64 = 56.0;

/// How far an edge that passes nodes runs aside while it rises.
const SLOPE: f64 = 30.0;

/// The edges in the published order, from and to.
fn edges(cell: &BenchCell) -> impl Iterator<Item = (usize, usize, EdgeOperation)> {
    let places = (1..NODES).flat_map(|to| (0..to).map(move |from| (from, to)));
    let edges = places.zip(cell.operations);
    edges.map(|((from, to), operation)| (from, to, operation))
}

fn name(node: usize) -> String {
    match node {
        0 => "input".to_owned(),
        3 => "output".to_owned(),
        _ => format!("node {node}"),
    }
}

/// The drawing as SVG; an edge through which nothing passes is left out.
pub fn bench_svg(cell: &BenchCell) -> String {
    let mut canvas = Canvas::default();
    let y = MARGIN + RISE * (NODES - 1) as f64 + BOX_H;
    let x = |node: usize| MARGIN + BOX_W / 2.0 + node as f64 * COLUMN;
    for (from, to, operation) in edges(cell).filter(|edge| edge.2 != EdgeOperation::None) {
        let passed = to - from - 1;
        let [left, right] = [x(from) + BOX_W / 2.0, x(to) - BOX_W / 2.0];
        // Before the last node, where no edge that passes others comes down across the words.
        let middle = x(to) - COLUMN / 2.0;
        let top = match passed {
            0 => y,
            // Edges from the input go above those from the first node.
            _ => y - BOX_H / 2.0 - RISE * passed as f64 - if from == 0 { RISE / 2.0 } else { 0.0 },
        };
        let (path, tip, direction) = match passed {
            0 => (
                format!("M{left:.1},{y:.1} L{right:.1},{y:.1}"),
                (right, y),
                (-1.0, 0.0),
            ),
            _ => {
                let (begin, end, foot) = (x(from), x(to), y - BOX_H / 2.0);
                let path = format!(
                    "M{begin:.1},{foot:.1} L{:.1},{top:.1} L{:.1},{top:.1} L{end:.1},{foot:.1}",
                    begin + SLOPE,
                    end - SLOPE
                );
                let length = SLOPE.hypot(foot - top);
                (path, (end, foot), (-SLOPE / length, (top - foot) / length))
            }
        };
        let head = Head {
            tip,
            from: direction,
        };
        canvas.arrow(&path, head, &PLAIN, operation.name());
        canvas.text((middle, top - 5.0), 11, false, operation.name());
    }
    for node in 0..NODES {
        let rect = Rect {
            x: x(node) - BOX_W / 2.0,
            y: y - BOX_H / 2.0,
            w: BOX_W,
            h: BOX_H,
        };
        let paint = match node {
            0 => GREY,
            3 => BLUE,
            _ => GREEN,
        };
        canvas.rect(rect, paint, &name(node));
        canvas.text((x(node), y + 4.0), 12, true, &name(node));
    }
    let width = 2.0 * MARGIN + BOX_W + (NODES - 1) as f64 * COLUMN;
    canvas.finish(width, y + BOX_H / 2.0 + MARGIN, "a cell of NAS-Bench-201")
}

/// The drawing as Graphviz DOT.
pub fn bench_dot(cell: &BenchCell) -> String {
    let mut dot = "digraph cell {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for node in 0..NODES {
        let _ = writeln!(dot, "  n{node} [label={}];", quoted(&name(node)));
    }
    for (from, to, operation) in edges(cell).filter(|edge| edge.2 != EdgeOperation::None) {
        let _ = writeln!(
            dot,
            "  n{from} -> n{to} [label={}];",
            quoted(operation.name())
        );
    }
    dot + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::BenchSpace;

    #[test]
    fn an_edge_that_passes_something_is_drawn_with_its_operation() {
        let cell = BenchSpace::new().decode(&[3, 0, 1, 2, 4, 0]).unwrap();
        let (svg, dot) = (bench_svg(&cell), bench_dot(&cell));
        for operation in [
            "nor_conv_3x3",
            "skip_connect",
            "nor_conv_1x1",
            "avg_pool_3x3",
        ] {
            assert_eq!(dot.matches(operation).count(), 1, "{dot}");
            // As a text, and as what is shown under the pointer.
            assert_eq!(svg.matches(operation).count(), 2, "{svg}");
        }
        assert!(!dot.contains("none") && !svg.contains(">none<"));
        assert!(dot.contains("n0 -> n1") && !dot.contains("n0 -> n2") && dot.contains("n1 -> n2"));
    }
    /// Numbers between letters and signs.
    fn numbers(text: &str) -> Vec<f64> {
        let parts = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
        parts.filter_map(|part| part.parse().ok()).collect()
    }

    /// Of a cell with all edges: a letter is no wider than 0.6 of its height.
    #[test]
    fn no_line_crosses_words() {
        let cell = BenchSpace::new().decode(&[2; 6]).unwrap();
        let svg = bench_svg(&cell);
        let lines = svg.split("<path d=\"").skip(1);
        let lines: Vec<Vec<f64>> = lines
            .map(|line| numbers(line.split_once('"').unwrap().0))
            .collect();
        let words = svg.split("<text ").skip(1);
        let words: Vec<(Vec<f64>, usize)> = words
            .map(|text| {
                let (place, rest) = text.split_once('>').unwrap();
                (numbers(place), rest.find('<').unwrap())
            })
            .collect();
        assert_eq!((lines.len(), words.len()), (6, 6 + NODES));
        for (place, n_letters) in &words {
            let (x, y, size) = (place[0], place[1], place[2]);
            let half = 0.3 * size * *n_letters as f64;
            for line in &lines {
                for pair in line.windows(4).step_by(2) {
                    for part in 0..=1000 {
                        let at =
                            |k: usize| pair[k] + (pair[k + 2] - pair[k]) * f64::from(part) / 1000.0;
                        let is_in = (at(0) - x).abs() < half && at(1) < y + 2.0 && at(1) > y - size;
                        assert!(!is_in, "{place:?} {line:?}\n{svg}");
                    }
                }
            }
        }
    }
}
