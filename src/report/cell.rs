//! A recurrent cell as equations and as a drawn tree; nothing reads them back.

use crate::space::CellArchitecture;
use crate::space::cell::{Activation, Combination, Tree};

/// What the letters of the equations are.
pub const LETTERS: &str = "x = x_t, h = h_(t-1), c = c_(t-1); * and max are element by element";

/// The cell as equations, in an order in which they can be computed: a line a node, such as
/// `a0 = tanh(W0 x + U0 h)`, `a0' = relu(a0 + c)` after the node that c_(t-1) enters, and the two
/// results, `h_t` and `c_t`.
pub fn equations(cell: &CellArchitecture) -> Vec<String> {
    match cell {
        CellArchitecture::Tree(tree) => of_tree(tree),
        CellArchitecture::Lstm => of_lstm(),
    }
}

fn of_lstm() -> Vec<String> {
    let gates = ["i", "f", "g", "o"].iter().enumerate().map(|(k, gate)| {
        let activation = if *gate == "g" { "tanh" } else { "sigmoid" };
        format!("{gate} = {activation}(W{k} x + U{k} h + b{k})")
    });
    let results = ["c_t = f * c + i * g", "h_t = o * tanh(c_t)"];
    gates.chain(results.map(str::to_owned)).collect()
}

fn of_tree(tree: &Tree) -> Vec<String> {
    let mut equations = Vec::new();
    for (node, &(_, activation)) in tree.nodes.iter().enumerate() {
        let combined = combination(tree, node);
        let last = node == tree.root();
        let injected = node == tree.inject_into;
        let name = match last && !injected {
            true => "h_t".to_owned(),
            false => format!("a{node}"),
        };
        equations.push(format!("{name} = {}", activated(activation, &combined)));
        if injected {
            let (how, activation) = tree.inject;
            let inside = combine(how, &format!("a{node}"), "c", false);
            let name = if last {
                "h_t".to_owned()
            } else {
                value(tree, node)
            };
            equations.push(format!("{name} = {}", activated(activation, &inside)));
        }
    }
    equations.push(format!("c_t = {}", combination(tree, tree.state_from)));
    equations
}

/// What a node's combination gives.
fn combination(tree: &Tree, node: usize) -> String {
    let (how, _) = tree.nodes[node];
    match tree.children(node) {
        None => combine(how, &format!("W{node} x"), &format!("U{node} h"), true),
        Some([left, right]) => combine(how, &value(tree, left), &value(tree, right), false),
    }
}

/// What the parent of a node sees.
fn value(tree: &Tree, node: usize) -> String {
    let prime = if node == tree.inject_into { "'" } else { "" };
    format!("a{node}{prime}")
}

fn combine(how: Combination, a: &str, b: &str, products: bool) -> String {
    match how {
        Combination::Add => format!("{a} + {b}"),
        Combination::ElemMult if products => format!("({a}) * ({b})"),
        Combination::ElemMult => format!("{a} * {b}"),
        Combination::Max => format!("max({a}, {b})"),
    }
}

fn activated(activation: Activation, of: &str) -> String {
    match activation {
        Activation::Identity => of.to_owned(),
        _ => format!("{}({of})", activation.name()),
    }
}

/// The tree, its root first, a line a node; empty for the LSTM, which is none.
pub fn drawing(cell: &CellArchitecture) -> String {
    let mut text = String::new();
    if let CellArchitecture::Tree(tree) = cell {
        draw(tree, tree.root(), "", "", &mut text);
    }
    text
}

/// Draws a node after `before`, and what is below it after `below`.
fn draw(tree: &Tree, node: usize, before: &str, below: &str, text: &mut String) {
    let (combination, activation) = tree.nodes[node];
    let (combination, activation) = (combination.name(), activation.name());
    *text += &format!("{before}{node}  {combination}, {activation}");
    if node == tree.state_from {
        *text += &format!("  [c_t: before {activation}]");
    }
    if node == tree.inject_into {
        let (combination, activation) = tree.inject;
        let (combination, activation) = (combination.name(), activation.name());
        *text += &format!("  [then c_(t-1): {combination}, {activation}]");
    }
    match tree.children(node) {
        None => *text += &format!("  (W{node} x, U{node} h)\n"),
        Some([left, right]) => {
            *text += if node == tree.root() {
                "  = h_t\n"
            } else {
                "\n"
            };
            let next = |mark: &str| format!("{below}{mark}");
            draw(tree, left, &next("├─ "), &next("│  "), text);
            draw(tree, right, &next("└─ "), &next("   "), text);
        }
    }
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

    /// The paper's worked example, as its text has it.
    #[test]
    fn the_worked_example() {
        let worked = cell(include_str!("../../examples/cell-worked.json"));
        assert_eq!(
            equations(&worked),
            [
                "a0 = tanh(W0 x + U0 h)",
                "a0' = relu(a0 + c)",
                "a1 = relu((W1 x) * (U1 h))",
                "h_t = sigmoid(a0' * a1)",
                "c_t = (W1 x) * (U1 h)",
            ]
        );
        assert_eq!(
            drawing(&worked),
            "2  elem_mult, sigmoid  = h_t\n\
             ├─ 0  add, tanh  [then c_(t-1): add, relu]  (W0 x, U0 h)\n\
             └─ 1  elem_mult, relu  [c_t: before relu]  (W1 x, U1 h)\n"
        );
    }

    #[test]
    fn the_published_cell() {
        let published = equations(&cell(include_str!("../../examples/cell-published.json")));
        let expected = [
            "a8 = tanh(a0 * a1)",
            "a8' = tanh(a8 + c)",
            "a9 = tanh(a2 + a3)",
            "a10 = tanh(a4 * a5)",
            "a11 = sigmoid(a6 + a7)",
            "a12 = a8' * a9",
            "a13 = tanh(a10 + a11)",
            "h_t = tanh(a12 * a13)",
            "c_t = a8' * a9",
        ];
        assert_eq!(published[8..], expected);
        assert_eq!(published[3], "a3 = relu((W3 x) * (U3 h))");
    }

    /// The injection at the root, which also gives the state: only h_t sees it.
    #[test]
    fn an_injection_at_the_root() {
        let json = r#"{"space":"cell","base":2,"nodes":[["max","sin"],["add","identity"],
            ["max","tanh"]],"inject":["max","identity"],"indices":[2,2]}"#;
        assert_eq!(
            equations(&cell(json)),
            [
                "a0 = sin(max(W0 x, U0 h))",
                "a1 = W1 x + U1 h",
                "a2 = tanh(max(a0, a1))",
                "h_t = max(a2, c)",
                "c_t = max(a0, a1)",
            ]
        );
    }
}
