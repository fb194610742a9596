//! Recurrent cells as JSON: written in the one canonical form, read strictly.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::tree::{Activation, BASES, CellArchitecture, Combination, Operation, Tree};
use crate::space::ArchitectureError;
use crate::space::fields::{Fields, TOP, did_you_mean, rule};
use crate::space::json::{Json, quoted};

impl Serialize for CellArchitecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("space", "cell")?;
        match self {
            CellArchitecture::Lstm => map.serialize_entry("kind", "lstm")?,
            CellArchitecture::Tree(tree) => {
                map.serialize_entry("base", &tree.base())?;
                map.serialize_entry("nodes", &tree.nodes)?;
                map.serialize_entry("inject", &tree.inject)?;
                map.serialize_entry("indices", &[tree.state_from, tree.inject_into])?;
            }
        }
        map.end()
    }
}

/// Reads what stands beside `"space":"cell"`.
pub(in crate::space) fn read(mut top: Fields) -> Result<CellArchitecture, ArchitectureError> {
    if let Some(kind) = top.take("kind") {
        return match kind {
            Json::Text(kind) if kind == "lstm" => {
                top.finish(&["space", "kind"], "a cell of kind \"lstm\"")?;
                Ok(CellArchitecture::Lstm)
            }
            other => Err(rule(
                TOP,
                format!("`kind` must be \"lstm\", not {other}; leave it out for a tree of nodes"),
            )),
        };
    }
    let base = read_base(&mut top)?;
    let n_nodes = Tree::n_nodes(base);
    let nodes = top.require(
        "nodes",
        &format!("list the {n_nodes} nodes of base {base}, leaves first, root last"),
    )?;
    let inject = top.require("inject", &format!("give {OPERATION}"))?;
    let indices = top.require("indices", &format!("give {INDICES}"))?;
    top.finish(&["space", "base", "nodes", "inject", "indices"], "a cell")?;
    let Json::List(nodes) = nodes else {
        return Err(rule(
            TOP,
            format!("`nodes` must be a list of nodes, not {nodes}"),
        ));
    };
    if nodes.len() != n_nodes {
        let text = format!(
            "`nodes` holds {} nodes; a cell of base {base} has {n_nodes}, leaves first, root last",
            nodes.len()
        );
        return Err(rule(TOP, text));
    }
    let numbered = nodes.iter().enumerate();
    let nodes: Result<Vec<Operation>, _> = numbered
        .map(|(node, json)| read_operation(&format!("node {node}"), "a node", json))
        .collect();
    let [state_from, inject_into] = read_indices(&indices, n_nodes - 1)?;
    Ok(CellArchitecture::Tree(Tree {
        nodes: nodes?,
        inject: read_operation(TOP, "`inject`", &inject)?,
        state_from,
        inject_into,
    }))
}

const OPERATION: &str = "a combination and an activation, such as [\"add\",\"tanh\"]";
const INDICES: &str = "two numbers of nodes, [the one that gives c_t, the one that takes c_(t-1)]";

fn read_base(top: &mut Fields) -> Result<usize, ArchitectureError> {
    let form = "2, 4, 8 or 16 (leaves of the tree, a power of two)";
    let json = top.require("base", &format!("give {form}"))?;
    let found = json.whole().filter(|base| BASES.contains(base));
    found.ok_or_else(|| rule(TOP, format!("`base` must be {form}, not {json}")))
}

fn read_operation(place: &str, what: &str, json: &Json) -> Result<Operation, ArchitectureError> {
    let Json::List(list) = json else {
        let text = format!("{what} must be {OPERATION}, not {json}");
        return Err(rule(place, text));
    };
    let [Json::Text(combination), Json::Text(activation)] = list.as_slice() else {
        let text = format!("{what} must be {OPERATION}, not {json}");
        return Err(rule(place, text));
    };
    let of = if place == TOP { "`inject`: " } else { "" };
    let unknown = |name: &str, what: &str, known: &[&str]| {
        let suggestion = did_you_mean(name, known);
        let known = known.join(", ");
        let text = format!(
            "{of}{} is no {what}{suggestion}; give one of {known}",
            quoted(name)
        );
        rule(place, text)
    };
    let names = Combination::ALL.map(Combination::name);
    let at = names.iter().position(|name| name == combination);
    let first = at.ok_or_else(|| unknown(combination, "combination", &names))?;
    let names = Activation::ALL.map(Activation::name);
    let at = names.iter().position(|name| name == activation);
    let second = at.ok_or_else(|| unknown(activation, "activation", &names))?;
    Ok((Combination::ALL[first], Activation::ALL[second]))
}

fn read_indices(json: &Json, root: usize) -> Result<[usize; 2], ArchitectureError> {
    let wrong = |text: String| Err(rule(TOP, text));
    let Json::List(list) = json else {
        return wrong(format!("`indices` must be {INDICES}, not {json}"));
    };
    let [first, second] = list.as_slice() else {
        return wrong(format!("`indices` must be {INDICES}, not {json}"));
    };
    let (Some(state_from), Some(inject_into)) = (first.whole(), second.whole()) else {
        return wrong(format!("`indices` must be {INDICES}, not {json}"));
    };
    let indices = [state_from, inject_into];
    match indices.iter().find(|&&index| index > root) {
        None => Ok(indices),
        Some(past) => wrong(format!(
            "`indices` names node {past}, but the root is node {root}; give numbers from 0 to {root}"
        )),
    }
}
