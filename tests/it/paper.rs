//! docs/paper.md against the source: every clause that is built has code and a test that cite it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use nas_engine::config::Config;
use nas_engine::space::ConvSpaceConfig;
use nas_engine::train::TrainConfig;

use crate::layering::{Source, sources};

/// What begins a citation; in two parts, so that this line is none.
const CITATION: &str = concat!("// ", "paper ");

/// A numbered rule of docs/paper.md.
struct Clause {
    number: String,
    is_built: bool,
}

/// A place that names a clause.
struct Citation {
    number: String,
    place: String,
    is_test: bool,
}

/// The clauses of `- **P1.2** (built; source) text`, counted up within `## P1 …`.
fn clauses(text: &str) -> Result<Vec<Clause>, String> {
    let (mut section, mut n_in_section) = (0, 0);
    let mut clauses = Vec::new();
    for line in text.lines() {
        if line.starts_with("## ") {
            (section, n_in_section) = (section + 1, 0);
            if !line.starts_with(&format!("## P{section} ")) {
                return Err(format!("section P{section} expected, not `{line}`"));
            }
        } else if line.starts_with("- ") {
            n_in_section += 1;
            let number = format!("P{section}.{n_in_section}");
            let is_built = status(line, &number).ok_or_else(|| {
                format!("`- **{number}** (built; source) text` expected, not `{line}`")
            })?;
            clauses.push(Clause { number, is_built });
        }
    }
    Ok(clauses)
}

/// Whether the clause of this line, which must be `number` and have a source and a text, is built.
fn status(line: &str, number: &str) -> Option<bool> {
    let rest = line.strip_prefix(&format!("- **{number}** ("))?;
    let (status, rest) = rest.split_once("; ")?;
    let (source, text) = rest.split_once(") ")?;
    if source.is_empty() || text.is_empty() {
        return None;
    }
    match status {
        "built" => Some(true),
        "not yet built" => Some(false),
        _ => None,
    }
}

/// All citations of a file; one comment may name several clauses, with a comma between them.
fn citations(source: &Source) -> Vec<Citation> {
    let first_test_line = source.n_before_tests();
    let mut citations = Vec::new();
    for (i, line) in source.text.lines().enumerate() {
        let Some((_, numbers)) = line.split_once(CITATION) else {
            continue;
        };
        citations.extend(numbers.split(", ").map(|number| Citation {
            number: number.to_owned(),
            place: format!("{}:{}", source.path, i + 1),
            is_test: i >= first_test_line,
        }));
    }
    citations
}

/// The places of code, or of tests, that cite a clause.
fn places<'a>(citations: &'a [Citation], number: &str, is_test: bool) -> Vec<&'a str> {
    let cites = |citation: &&Citation| citation.number == number && citation.is_test == is_test;
    let found = citations.iter().filter(cites);
    found.map(|citation| citation.place.as_str()).collect()
}

/// What keeps clauses and citations from being a true account of each other.
fn faults(clauses: &[Clause], citations: &[Citation]) -> Vec<String> {
    let mut faults = Vec::new();
    for Clause { number, is_built } in clauses {
        for (is_test, what) in [(false, "code"), (true, "test")] {
            let places = places(citations, number, is_test);
            match (is_built, places.is_empty()) {
                (true, true) => faults.push(format!("{number} is built, but no {what} cites it")),
                (false, false) => faults.push(format!(
                    "{number} is not yet built, but {} cites it",
                    places.join(", ")
                )),
                _ => {}
            }
        }
    }
    for Citation { number, place, .. } in citations {
        if !clauses.iter().any(|clause| clause.number == *number) {
            faults.push(format!("{place} cites `{number}`, which is no clause"));
        }
    }
    faults
}

/// A line a clause, and the sum.
fn coverage(clauses: &[Clause], citations: &[Citation]) -> String {
    let mut text = String::new();
    for Clause { number, is_built } in clauses {
        if *is_built {
            let list = |is_test| places(citations, number, is_test).join(", ");
            let (code, tests) = (list(false), list(true));
            writeln!(text, "{number}: code {code}; tests {tests}").unwrap();
        } else {
            writeln!(text, "{number}: not yet built").unwrap();
        }
    }
    let n_built = clauses.iter().filter(|clause| clause.is_built).count();
    let n_tests = citations.iter().filter(|citation| citation.is_test).count();
    let (n, n_code) = (clauses.len(), citations.len() - n_tests);
    write!(
        text,
        "{n_built} of {n} clauses are built; code cites them {n_code} times, tests {n_tests} times"
    )
    .unwrap();
    text
}

#[test]
fn every_clause_that_is_built_has_code_and_a_test() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/paper.md");
    let clauses = clauses(&fs::read_to_string(path).unwrap()).unwrap();
    let mut sources = sources(&["src", "tests/it"]);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    let citations: Vec<Citation> = sources.iter().flat_map(citations).collect();
    println!("{}", coverage(&clauses, &citations));
    assert!(clauses.iter().any(|clause| clause.is_built));
    let faults = faults(&clauses, &citations);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_check_can_fail() {
    let text = "## P1 One\n\n- **P1.1** (built; section 1) A rule\n  of two lines.\n\
                - **P1.2** (not yet built; table 1) Another.\n\n## P2 Two\n\n\
                - **P2.1** (built; section 2) A third.\n";
    let clauses_of = |text: &str| clauses(text).unwrap();
    let cited = |code: &str, tests: &str| {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.replace('@', CITATION),
        };
        let mut all = citations(&source("src/a.rs", code));
        all.extend(citations(&source("tests/it/a.rs", tests)));
        faults(&clauses_of(text), &all)
    };
    let good = "@P1.1, P2.1\nfn f() {}";
    assert_eq!(cited(good, good), [""; 0]);
    // Tests at the end of a file of code are tests.
    let both = format!("{good}\nmod tests {{\n    {good}\n}}");
    assert_eq!(cited(&both, ""), [""; 0]);
    assert_eq!(
        cited(good, "@P1.1"),
        ["P2.1 is built, but no test cites it"]
    );
    assert_eq!(
        cited("@P2.1", good),
        ["P1.1 is built, but no code cites it"]
    );
    assert_eq!(
        cited("let x = 1; @P1.1, P1.2, P2.1", good),
        ["P1.2 is not yet built, but src/a.rs:1 cites it"]
    );
    assert_eq!(
        cited(good, "\n@P1.1, P2.1\n@P2.2"),
        ["tests/it/a.rs:3 cites `P2.2`, which is no clause"]
    );
    for (from, to) in [
        ("P1.2**", "P1.3**"),
        ("## P2", "## P3"),
        ("(built; section 2)", "(build; section 2)"),
        ("(built; section 2)", "(built)"),
        ("(built; section 2)", "(built; )"),
    ] {
        assert!(clauses(&text.replace(from, to)).is_err(), "{to}");
    }
}

// paper P1.2, P1.3, P1.6, P3.1, P3.2, P3.3, P3.4, P4.1, P4.5, P5.3, P5.4, P5.5, P6.5, P6.6
#[test]
fn the_presets_have_the_papers_numbers() {
    let [v1, v2, v3] = ["v1", "v2", "v3"].map(|name| Config::preset(name).unwrap());
    let spaces = ["v1", "v2", "v3"].map(|name| ConvSpaceConfig::preset(name).unwrap());
    for space in &spaces[..2] {
        assert_eq!(space.filters, [24, 36, 48, 64]);
        assert_eq!(
            (space.depth, space.depth_step, space.depth_every),
            (6, 2, 1600)
        );
        assert!(space.anchors && !space.blocks && space.first_stride.is_none());
    }
    for (config, space) in [v1, v2, v3].iter().zip(&spaces) {
        assert_eq!(config.space, space.clone().into());
        assert_eq!(space.filter_heights, [1, 3, 5, 7]);
        assert_eq!(space.filter_widths, [1, 3, 5, 7]);
        let controller = &config.controller;
        assert_eq!((controller.hidden, controller.learning_rate), (35, 0.0006));
        let search = &config.search;
        assert_eq!((search.children_per_update, search.samples), (8, 12_800));
        let TrainConfig::Network(train) = &config.train else {
            panic!("networks");
        };
        assert_eq!((train.epochs, train.learning_rate), (50, 0.1));
        assert_eq!((train.momentum, train.weight_decay), (0.9, 1e-4));
    }
    let [v1, v2, v3] = spaces;
    assert_eq!(v1.strides, [1]);
    assert_eq!(v2.strides, [1, 2, 3]);
    assert_eq!(v3.filters, [6, 12, 24, 36]);
    assert!(v3.anchors && v3.blocks);
    assert_eq!((v3.depth, v3.max_depth), (13, 13));
    assert_eq!(v3.pool_after_blocks, [4, 8]);
}
