//! What the comments above kernels say in formulas (`grid`, `block`, `shared`, and the `flops` of
//! matrix products) is what their launches have and what the host runner counts, over every case.

mod formula;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};

use nas_engine::device::cuda::declarations;
use nas_engine::device::cuda::declare::Declaration;
use nas_engine::device::cuda::driver::Launch;

use super::host::Counters;
use super::observed::observed;
use text::{Comment, comments};

/// What a comment must have.
const FORM: &str = "the comment above a kernel has the lines `// grid: X, Y, Z; words`, \
    `// block: THREADS; words` and, where there is any, `// shared: BYTES; words` and, for products by \
    tensor cores, `// flops: FLOPS; words` (`at most FLOPS`, where zeros are passed over); these are \
    formulas such as `2 n ceil(h w / 256)` of the fields of the kernel's arguments and of the \
    parameters of its template; a letter that stands alone in `grid` is what the launch has there, \
    and `blocks` is how many there are";

/// The structs that hosts and kernels declare, by name.
struct Structs(BTreeMap<&'static str, Declaration>);

impl Structs {
    fn size_and_alignment(&self, kind: &str) -> (usize, usize) {
        match kind {
            "uint8_t" => (1, 1),
            "int" | "uint32_t" | "float" => (4, 4),
            _ => match (kind.split_once('['), self.0.get(kind)) {
                (Some((element, n)), _) => {
                    let (size, alignment) = self.size_and_alignment(element);
                    let n: usize = n.trim_end_matches(']').parse().expect("a length");
                    (n * size, alignment)
                }
                (None, Some(of)) => {
                    let fields = of.fields.iter();
                    let alignments = fields.map(|(_, kind)| self.size_and_alignment(kind).1);
                    (of.bytes, alignments.max().expect("a struct has fields"))
                }
                (None, None) => (8, 8),
            },
        }
    }

    /// The bytes of each field of a struct, with its type.
    fn fields<'a>(&'a self, name: &str, bytes: &'a [u8]) -> BTreeMap<&'a str, (&'a str, &'a [u8])> {
        let mut at = 0;
        let field = |(name, kind): &'a (&'static str, String)| {
            let (size, alignment) = self.size_and_alignment(kind);
            let start = usize::next_multiple_of(at, alignment);
            at = start + size;
            (*name, (kind.as_str(), &bytes[start..at]))
        };
        self.0[name].fields.iter().map(field).collect()
    }

    /// A field that is a number.
    fn number(&self, name: &str, bytes: &[u8], field: &str) -> Option<f64> {
        let (kind, bytes) = *self.fields(name, bytes).get(field)?;
        match kind {
            "int" => Some(f64::from(bytemuck::pod_read_unaligned::<i32>(bytes))),
            "int64_t" => Some(bytemuck::pod_read_unaligned::<i64>(bytes) as f64),
            "float" => Some(f64::from(bytemuck::pod_read_unaligned::<f32>(bytes))),
            _ => None,
        }
    }

    /// Of a convolution: `taps` of the first source, `widest` filter of all, and `chunk_taps`, the
    /// taps of all chunks together.
    fn of_sources(&self, name: &str, bytes: &[u8], what: &str) -> Option<f64> {
        let fields = self.fields(name, bytes);
        let (_, sources) = *fields.get("sources")?;
        let (size, _) = self.size_and_alignment("ConvSource");
        let sources: Vec<&[u8]> = sources.chunks_exact(size).collect();
        let number = |i: usize, field| self.number("ConvSource", sources[i], field);
        let taps = |i| Some(number(i, "kh")? * number(i, "kw")?);
        match what {
            "taps" => taps(0),
            "widest" => (0..sources.len())
                .filter_map(|i| number(i, "kw"))
                .reduce(f64::max),
            "chunk_taps" => {
                let n_chunks = self.number(name, bytes, "n_chunks")? as usize;
                let (_, chunks) = *fields.get("chunks")?;
                let chunks = chunks.chunks_exact(4).take(n_chunks);
                chunks.map(|chunk| taps(chunk[0] as usize)).sum()
            }
            _ => None,
        }
    }
}

/// Compares one launch with the comment; what differs, by key.
fn differences(
    structs: &Structs,
    comment: &Comment,
    launch: &Launch,
    counters: &Counters,
) -> Vec<(&'static str, String)> {
    let mut letters: BTreeMap<String, f64> = comment.parameters.clone();
    let field = |name: &str| {
        let number = structs.number(&comment.args, &launch.args, name);
        number.or_else(|| structs.of_sources(&comment.args, &launch.args, name))
    };
    let blocks: f64 = launch.grid.iter().map(|&n| f64::from(n)).product();
    letters.insert("blocks".to_string(), blocks);
    let mut wrong = vec![];
    let grid = comment
        .formulas
        .get("grid")
        .map_or(vec![], |text| formula::list(text));
    for (axis, &extent) in launch.grid.iter().enumerate() {
        let text = grid.get(axis).copied().unwrap_or("1");
        let extent = f64::from(extent);
        let is_letter = text.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
        if is_letter && field(text).is_none() && !letters.contains_key(text) {
            letters.insert(text.to_string(), extent);
        }
        let names = |name: &str| letters.get(name).copied().or_else(|| field(name));
        match formula::value(text, &names) {
            Ok(value) if value == extent => {}
            Ok(value) => wrong.push(("grid", format!("`{text}` is {value}, launched {extent}"))),
            Err(error) => wrong.push(("grid", error)),
        }
    }
    let names = |name: &str| letters.get(name).copied().or_else(|| field(name));
    let mut check = |key: &'static str, counted: f64| {
        let Some(text) = comment.formulas.get(key) else {
            if counted > 0.0 {
                wrong.push((key, format!("no line, but {counted} in a launch")));
            }
            return;
        };
        let (at_most, text) = match text.strip_prefix("at most ") {
            Some(text) => (true, text),
            None => (false, text.as_str()),
        };
        match formula::value(text, &names) {
            Ok(value) if value == counted || at_most && value > counted => {}
            Ok(value) => wrong.push((key, format!("`{text}` is {value}, counted {counted}"))),
            Err(error) => wrong.push((key, error)),
        }
    };
    check("block", f64::from(launch.threads));
    check("shared", f64::from(launch.shared_bytes));
    // Of other kernels than those of matrix products nothing is counted.
    if counters.flops > 0 {
        check("flops", counters.flops as f64);
    }
    if f64::from(launch.threads) != comment.threads {
        let launched = launch.threads;
        wrong.push((
            "block",
            format!("compiled for {}, launched with {launched}", comment.threads),
        ));
    }
    wrong
}

#[test]
fn comments_say_what_launches_have() {
    let structs = declarations().into_iter().map(|of| (of.name, of));
    let structs = Structs(structs.collect());
    let comments = comments();
    let observed = observed();
    let missing = observed
        .kernels
        .iter()
        .filter(|name| !comments.contains_key(*name));
    assert_eq!(
        missing.collect::<Vec<_>>(),
        [""; 0],
        "kernels whose text is not found"
    );
    let mut wrong = BTreeMap::new();
    // Kernels some of whose launches did all that `at most` says.
    let mut reached = BTreeSet::new();
    for (launch, counters) in &observed.launches {
        let comment = &comments[launch.kernel];
        let mut exact = comment.clone();
        for text in exact.formulas.values_mut() {
            *text = text.replace("at most ", "");
        }
        if differences(&structs, &exact, launch, counters).is_empty() {
            reached.insert(launch.kernel);
        }
        for (key, what) in differences(&structs, comment, launch, counters) {
            let line = format!("{}: {}: {key}: {what}", comment.place, launch.kernel);
            wrong.entry((launch.kernel, key)).or_insert(line);
        }
    }
    let lines: Vec<String> = wrong.into_values().collect();
    assert!(lines.is_empty(), "{}\n{FORM}", lines.join("\n"));
    let loose = observed.launches.iter().map(|(launch, _)| launch.kernel);
    let loose: BTreeSet<_> = loose.filter(|kernel| !reached.contains(kernel)).collect();
    assert!(
        loose.is_empty(),
        "no launch does as much as the comment says: {loose:?}"
    );
}
