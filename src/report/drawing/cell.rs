//! A recurrent cell as a tree: products of x_t and h_(t-1) below, h_t above. The LSTM is drawn in the same way.

use std::fmt::Write;

use super::quoted;
use super::svg::{BLUE, Canvas, GREEN, GREY, Head, PLAIN, Paint, Rect, Short, YELLOW};
use crate::graph::recurrent::{Operand, Program};
use crate::space::CellArchitecture;
use crate::space::cell::{Activation, Combination};

/// Size of a box, distances of middles, and the margin around all.
const BOX_W: f64 = 92.0;
const BOX_H: f64 = 42.0;
const COLUMN: f64 = 146.0;
const ROW: f64 = 78.0;
const MARGIN: f64 = 18.0;

/// A box of the drawing.
struct Node {
    /// Middle in columns, and rows above the leaves.
    x: f64,
    level: usize,
    words: [String; 2],
    paint: Paint,
    /// Earlier boxes that it reads.
    reads: Vec<usize>,
    /// The leaf whose products it reads.
    leaf: Option<usize>,
    reads_state: bool,
}

/// The drawing as SVG.
pub fn cell_svg(cell: &CellArchitecture) -> String {
    let program = Program::from(cell);
    let nodes = nodes(cell, &program);
    let levels = nodes.iter().map(|node| node.level).max().unwrap_or(0);
    let middle = |node: &Node| {
        let rows = (levels - node.level) as f64;
        let x = MARGIN + 34.0 + BOX_W / 2.0 + node.x * COLUMN;
        (x, MARGIN + 34.0 + BOX_H / 2.0 + rows * ROW)
    };
    let mut canvas = Canvas::default();
    for node in &nodes {
        for &read in &node.reads {
            let (from, to) = (middle(&nodes[read]), middle(node));
            line(
                &mut canvas,
                (from.0, from.1 - BOX_H / 2.0),
                (to.0, to.1 + BOX_H / 2.0),
            );
        }
    }
    for (number, node) in nodes.iter().enumerate() {
        let (x, y) = middle(node);
        let rect = Rect {
            x: x - BOX_W / 2.0,
            y: y - BOX_H / 2.0,
            w: BOX_W,
            h: BOX_H,
        };
        canvas.rect(rect, node.paint, &node.words.join(", then "));
        canvas.text((x, y - 3.0), 12, true, &node.words[0]);
        canvas.text((x, y + 13.0), 11, false, &node.words[1]);
        if let Some(leaf) = node.leaf {
            let below = y + BOX_H / 2.0;
            line(&mut canvas, (x, below + 20.0), (x, below));
            let words = format!("W{leaf} x, U{leaf} h");
            canvas.text((x, below + 32.0), 11, false, &words);
        }
        if node.reads_state {
            let left = x - BOX_W / 2.0;
            line(&mut canvas, (left - 14.0, y), (left, y));
            canvas.text((left - 21.0, y + 4.0), 12, true, "c");
        }
        if number == program.output {
            line(
                &mut canvas,
                (x, y - BOX_H / 2.0),
                (x, y - BOX_H / 2.0 - 22.0),
            );
            canvas.text((x, y - BOX_H / 2.0 - 28.0), 12, true, "h_t");
        }
        if number == program.state {
            let right = x + BOX_W / 2.0;
            line(&mut canvas, (right, y), (right + 14.0, y));
            canvas.text((right + 26.0, y + 4.0), 12, true, "c_t");
        }
    }
    let columns = nodes.iter().map(|node| node.x).fold(0.0, f64::max);
    let width = 2.0 * (MARGIN + 34.0) + BOX_W + columns * COLUMN;
    let height = 2.0 * (MARGIN + 36.0) + BOX_H + levels as f64 * ROW + 16.0;
    if program.instructions[program.state].activation != Activation::Identity {
        let words = "c_t is what its box gives before the activation";
        canvas.text((width / 2.0, height - 10.0), 11, false, words);
    }
    canvas.finish(width, height, "a recurrent cell")
}

fn line(canvas: &mut Canvas, from: (f64, f64), to: (f64, f64)) {
    let (dx, dy) = (from.0 - to.0, from.1 - to.1);
    let length = dx.hypot(dy).max(1.0);
    let direction = (dx / length, dy / length);
    let (x, y) = (to.0 + 5.0 * direction.0, to.1 + 5.0 * direction.1);
    let [from_x, from_y, x, y] = [from.0, from.1, x, y].map(Short);
    let head = Head {
        tip: to,
        from: direction,
    };
    canvas.arrow(&format!("M{from_x},{from_y} L{x},{y}"), head, &PLAIN, "");
}

/// The drawing as Graphviz DOT.
pub fn cell_dot(cell: &CellArchitecture) -> String {
    let program = Program::from(cell);
    let mut dot = String::from(
        "digraph cell {\n  rankdir=BT;\n  node [shape=box, style=\"rounded,filled\", \
         fontname=\"Helvetica\", fontsize=11];\n  edge [color=\"#52606d\"];\n  \
         h [label=\"h_t\", shape=plaintext, style=\"\"];\n  \
         c [label=\"c_t\", shape=plaintext, style=\"\"];\n",
    );
    for (number, node) in nodes(cell, &program).iter().enumerate() {
        let leaf = node
            .leaf
            .map_or(String::new(), |leaf| format!("\nW{leaf} x, U{leaf} h"));
        let label = quoted(&format!("{}{leaf}", node.words.join("\n")));
        let Paint { fill, edge } = node.paint;
        // A string takes all that is written to it, here and below.
        let _ = writeln!(
            dot,
            "  n{number} [label={label}, fillcolor=\"{fill}\", color=\"{edge}\"];"
        );
        for read in &node.reads {
            let _ = writeln!(dot, "  n{read} -> n{number};");
        }
        if node.reads_state {
            let _ = writeln!(
                dot,
                "  s{number} [label=\"c_(t-1)\", shape=plaintext, style=\"\"];\n  s{number} -> n{number};"
            );
        }
    }
    let before = match program.instructions[program.state].activation {
        Activation::Identity => "",
        _ => ", label=\"before the activation\"",
    };
    let _ = writeln!(
        dot,
        "  n{} -> h;\n  n{} -> c [style=dashed{before}];\n}}",
        program.output, program.state
    );
    dot
}

/// A box an instruction. Leaves stand in a row, each other box above the middle of what it reads, and boxes of
/// one row keep their distance.
fn nodes(cell: &CellArchitecture, program: &Program) -> Vec<Node> {
    let mut nodes: Vec<Node> = vec![];
    for instruction in &program.instructions {
        let operands = [instruction.left, instruction.right];
        let reads: Vec<usize> = operands
            .iter()
            .filter_map(|operand| match operand {
                Operand::Value(earlier) => Some(*earlier),
                _ => None,
            })
            .collect();
        let leaf = operands.iter().find_map(|operand| match operand {
            Operand::Input(leaf) | Operand::Hidden(leaf) => Some(*leaf),
            _ => None,
        });
        let reads_state = operands.contains(&Operand::State);
        let level = reads.iter().map(|&read| nodes[read].level + 1).max();
        let level = level.unwrap_or(0);
        let wanted = match leaf {
            Some(leaf) => column(cell, leaf),
            None => {
                reads.iter().map(|&read| nodes[read].x).sum::<f64>() / reads.len().max(1) as f64
            }
        };
        let taken = nodes.iter().filter(|node| node.level == level);
        let after = taken.map(|node| node.x + 1.0).fold(0.0, f64::max);
        let x = match leaf {
            Some(_) => wanted,
            None => wanted.max(after),
        };
        nodes.push(Node {
            x,
            level,
            words: [
                match instruction.combination {
                    Combination::Add => "add",
                    Combination::ElemMult => "multiply",
                    Combination::Max => "max",
                }
                .to_owned(),
                instruction.activation.name().to_owned(),
            ],
            paint: match (leaf, reads_state) {
                (Some(_), _) => BLUE,
                (None, true) => YELLOW,
                (None, false) => GREEN,
            },
            reads,
            leaf,
            reads_state,
        });
    }
    if let Some(root) = nodes.get_mut(program.output) {
        root.paint = GREY;
    }
    nodes
}

/// Column of a leaf. Of the LSTM's gates those that are multiplied stand side by side.
fn column(cell: &CellArchitecture, leaf: usize) -> f64 {
    let at = match cell {
        CellArchitecture::Tree(_) => leaf,
        CellArchitecture::Lstm => [0, 2, 1, 3].get(leaf).copied().unwrap_or(leaf),
    };
    at as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Architecture;

    fn cell(json: &str) -> CellArchitecture {
        match Architecture::from_json(json).unwrap() {
            Architecture::Cell(cell) => cell,
            _ => panic!("a cell"),
        }
    }

    #[test]
    fn the_worked_example_has_its_boxes() {
        let worked = cell(include_str!("../../../examples/cell-worked.json"));
        let svg = cell_svg(&worked);
        for (words, times) in [("rx=", 4), (">W0 x, U0 h<", 1), (">h_t<", 1), (">c<", 1)] {
            assert_eq!(svg.matches(words).count(), times, "{words}\n{svg}");
        }
        assert!(svg.contains("before the activation"));
        let dot = cell_dot(&worked);
        assert_eq!(dot.matches(" -> ").count(), 3 + 1 + 2, "{dot}");
    }

    #[test]
    fn boxes_of_a_row_do_not_touch() {
        let published = include_str!("../../../examples/cell-published.json");
        for cell in [cell(published), CellArchitecture::Lstm] {
            let nodes = nodes(&cell, &Program::from(&cell));
            for (i, a) in nodes.iter().enumerate() {
                for b in nodes[..i].iter().filter(|b| b.level == a.level) {
                    assert!((a.x - b.x).abs() >= 1.0, "{cell:?}");
                }
            }
        }
    }
}
