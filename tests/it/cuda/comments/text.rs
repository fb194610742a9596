//! The comments above kernels, read from their text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What the comment above a kernel says in formulas.
#[derive(Clone)]
pub struct Comment {
    /// Where the kernel is, as `file:line`.
    pub place: String,
    /// Name of the struct of its arguments.
    pub args: String,
    /// Threads that it is compiled for.
    pub threads: f64,
    /// What a template's parameters are for this kernel.
    pub parameters: BTreeMap<String, f64>,
    /// Formulas by what they are of: `grid`, `block`, ...
    pub formulas: BTreeMap<String, String>,
}

/// What a line of a comment may be of.
const KEYS: [&str; 6] = ["grid", "block", "shared", "needs", "bytes", "flops"];

/// The comment of every kernel of `kernels/`, by the kernel's name.
pub fn comments() -> BTreeMap<String, Comment> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut comments = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("kernels/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "cu") {
            let text = fs::read_to_string(&path).expect("text");
            let file = path.file_name().expect("a name").to_string_lossy();
            comments.extend(of_file(&format!("kernels/{file}"), &text));
        }
    }
    comments
}

/// What stands in brackets after `name` on a line that begins with it.
fn arguments<'a>(line: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let rest = line.trim_start().strip_prefix(name)?.strip_prefix('(')?;
    Some(rest.split(')').next()?.split(',').map(str::trim).collect())
}

fn of_file(file: &str, text: &str) -> Vec<(String, Comment)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = vec![];
    for (i, line) in lines.iter().enumerate() {
        let Some(kernel) = arguments(line, "KERNEL") else {
            continue;
        };
        let comment = |at: usize, formulas: usize, parameters| Comment {
            place: format!("{file}:{}", at + 1),
            args: kernel[1].to_string(),
            threads: kernel[2].parse().expect("a number of threads"),
            parameters,
            formulas: formulas_above(&lines, formulas),
        };
        // A macro that makes kernels of a template, whose comment is above that.
        let Some(of_macro) = i
            .checked_sub(1)
            .and_then(|i| lines[i].strip_prefix("#define "))
        else {
            found.push((kernel[0].to_string(), comment(i, i, BTreeMap::new())));
            continue;
        };
        let name = of_macro.split('(').next().expect("a macro's name");
        let names = arguments(of_macro, name).expect("a macro's parameters");
        let body = line.split('{').nth(1).expect("a body").trim();
        let template = format!("void {}(", body.split('<').next().expect("a template"));
        let template = lines.iter().position(|line| line.contains(&template));
        let template = template.expect("the template is in the same file") - 1;
        for (at, line) in lines.iter().enumerate() {
            let Some(values) = arguments(line, name) else {
                continue;
            };
            let pairs = names.iter().zip(&values).skip(1);
            let parameter = |(name, value): (&&str, &&str)| {
                let value = value.parse().expect("a number");
                (name.to_string(), value)
            };
            let parameters = pairs.map(parameter).collect();
            found.push((values[0].to_string(), comment(at, template, parameters)));
        }
    }
    found
}

/// What comes before the first semicolon of each line with a key, in the comment above a line.
fn formulas_above(lines: &[&str], end: usize) -> BTreeMap<String, String> {
    let is_comment = |line: &&str| line.starts_with("//");
    let n = lines[..end]
        .iter()
        .rev()
        .take_while(|line| is_comment(line))
        .count();
    let mut formulas: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    for line in &lines[end - n..end] {
        let line = &line[2..];
        let keyed = line
            .split_once(':')
            .filter(|(key, _)| KEYS.contains(&key.trim()));
        if let Some((key, rest)) = keyed {
            last = Some(key.trim().to_string());
            formulas.insert(key.trim().to_string(), rest.trim().to_string());
        } else if let Some(key) = last.as_ref().filter(|_| line.starts_with("    ")) {
            let text = formulas.get_mut(key).expect("the line above has it");
            *text += " ";
            *text += line.trim();
        } else {
            last = None;
        }
    }
    for text in formulas.values_mut() {
        *text = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_string();
    }
    formulas
}
