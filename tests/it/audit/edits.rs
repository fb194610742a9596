//! Every edit of one field of a journal, its check sum made right again, and every line that is left
//! out, written twice or exchanged with the next: found, or listed here with the reason why it
//! changes nothing.

use nas_engine::train::Course;
use serde_json::{Map, Value, json};

use super::course;
use super::made::{Made, cells, networks, random};

/// A line with its check sum.
pub fn line(value: &Value) -> String {
    let mut value = value.clone();
    value.as_object_mut().unwrap().shift_remove("crc32");
    let mut text = value.to_string();
    text.pop();
    let sum = crc32fast::hash(text.as_bytes());
    format!("{text},\"crc32\":\"{sum:08x}\"}}\n")
}

/// Where a value stands in a line, such as `architecture/layers/0/filters`.
type Path = String;

/// Other values of the same type that might stand in its place.
fn others(key: &str, value: &Value) -> Vec<Value> {
    match value {
        Value::Number(n) if n.is_f64() => {
            let x = n.as_f64().unwrap();
            vec![json!(x / 2.0 + 0.05), json!(x * 0.5)]
        }
        Value::Number(n) => {
            let n = n.as_u64().unwrap();
            let less = n.checked_sub(1).map(|less| json!(less));
            less.into_iter()
                .chain([json!(n + 1), json!(n + 5)])
                .collect()
        }
        Value::String(_) if key == "status" => {
            let words = "ok diverged too_large invalid out_of_memory crash timeout poison";
            words.split(' ').map(Value::from).collect()
        }
        Value::String(_) if key == "event" => {
            let words = "run child update lost stop later";
            words.split(' ').map(Value::from).collect()
        }
        Value::String(text) => {
            let last = text.chars().last().unwrap_or('0');
            let other = if last == '0' { '1' } else { '0' };
            let cut = &text[..text.len() - last.len_utf8()];
            vec![json!(format!("{cut}{other}")), json!(cut)]
        }
        Value::Null => vec![json!(0.0), json!(0.25)],
        Value::Bool(is) => vec![json!(!is)],
        Value::Array(_) | Value::Object(_) => vec![],
    }
}

/// Every line that differs from `value` in one place, with that place.
fn edited(value: &Value) -> Vec<(Path, Value)> {
    let mut edits = Vec::new();
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter().filter(|(key, _)| *key != "crc32") {
                let with = |new: Value| {
                    let mut map = map.clone();
                    map.insert(key.clone(), new);
                    Value::Object(map)
                };
                let changed = others(key, inner)
                    .into_iter()
                    .filter(|other| other != inner);
                edits.extend(changed.map(|other| (key.clone(), with(other))));
                let below = edited(inner).into_iter();
                edits.extend(below.map(|(path, new)| (format!("{key}/{path}"), with(new))));
                let left: Map<String, Value> = map
                    .iter()
                    .filter(|(k, _)| *k != key)
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                edits.push((format!("{key}/-"), Value::Object(left)));
            }
        }
        Value::Array(list) => {
            for (i, inner) in list.iter().enumerate() {
                let with = |new: Value| {
                    let mut list = list.clone();
                    list[i] = new;
                    Value::Array(list)
                };
                edits.extend(
                    others("", inner)
                        .into_iter()
                        .map(|new| (i.to_string(), with(new))),
                );
                let below = edited(inner).into_iter();
                edits.extend(below.map(|(path, new)| (format!("{i}/{path}"), with(new))));
            }
            if let Some(last) = list.last() {
                edits.push(("-".into(), Value::Array(list[1..].to_vec())));
                edits.push((
                    "+".into(),
                    Value::Array([list.as_slice(), std::slice::from_ref(last)].concat()),
                ));
                let mut turned = list.clone();
                turned.reverse();
                if turned != *list {
                    edits.push(("~".into(), Value::Array(turned)));
                }
            }
        }
        _ => {}
    }
    edits
}

/// Why an edit need not be found on its own line; nothing where it must be. What is listed may yet
/// be found on a later line.
fn reason(
    before: &Value,
    after: &Value,
    path: &str,
    knows_data: bool,
    is_first: bool,
) -> Option<&'static str> {
    let field = path.split('/').next().unwrap();
    let (event, status) = (before["event"].as_str().unwrap(), before["status"].as_str());
    let now = after["status"].as_str();
    let is_fault = |status: Option<&str>| {
        ["out_of_memory", "crash", "timeout", "poison"].contains(&status.unwrap_or_default())
    };
    let is_zero =
        |status: Option<&str>| ["diverged", "too_large"].contains(&status.unwrap_or_default());
    match (event, field) {
        // A line that cannot be read is damage wherever it stands.
        (_, "timing") if !path.ends_with("/-") => Some("measures time and the machine"),
        ("run", "version") if path == "version" => Some("of the program, not of the search"),
        ("run", "samples") if path == "samples" => {
            Some("shows where a batch ends by it, and nowhere else")
        }
        ("run", "data_sha256") if is_first && !knows_data && path == "data_sha256" => {
            Some("nothing says the data but the other sessions, which are found to differ")
        }
        ("run", "event") if !is_first => {
            Some("a session less, which a kill at once leaves as well")
        }
        ("lost" | "stop", "event") => Some("a line that means nothing for the result less"),
        ("child", "reward") if path == "reward/-" && before["reward"].is_null() => {
            Some("null is what is not there")
        }
        ("lost", "sample" | "message") => Some("means nothing for the result"),
        ("child", "event") => Some("a child that has not ended, where its batch is not over"),
        ("update", "event") => Some("an update that was not made yet, where no batch follows"),
        ("child", "message") if status != Some("ok") && path == "message" => Some("free words"),
        ("child", "accuracies" | "perplexities") if status == Some("diverged") => {
            Some("nothing is made of them; training it again tells")
        }
        ("child", "accuracies" | "perplexities") if status == Some("ok") => {
            let counted = |line: &Value| {
                let values: Vec<f64> = line[field]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_f64)
                    .collect();
                match field {
                    "accuracies" => values.iter().copied().reduce(f64::max),
                    _ => values.last().copied(),
                }
            };
            let as_many =
                before[field].as_array().map(Vec::len) == after[field].as_array().map(Vec::len);
            (as_many && counted(before) == counted(after))
                .then_some("the reward is not made of it; training it again tells")
        }
        ("child", "status") if is_fault(status) && is_fault(now) => {
            Some("which fault a machine had is not decided by the run")
        }
        ("child", "status")
            if is_zero(status) && is_zero(now) && before["accuracies"] == json!([]) =>
        {
            Some("both have reward 0; training it again tells")
        }
        ("child", "status") if status == Some("too_large") && now == Some("diverged") => {
            Some("both have reward 0; training it again tells")
        }
        _ => None,
    }
}

/// Tries every edit of one field.
fn check_fields(made: &Made, data: Option<&Course>) {
    let text = made.text();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (mut n_found, mut n_nothing) = (0, 0);
    for (i, old) in lines.iter().enumerate() {
        let before: Value = serde_json::from_str(old).unwrap();
        for (path, after) in edited(&before) {
            let journal = [
                &lines[..i].concat(),
                &line(&after),
                &lines[i + 1..].concat(),
            ]
            .map(|s| s.to_string());
            let is_last = i + 1 == lines.len();
            let audit = made.audit_of(&journal.concat(), data);
            let found = audit.difference.as_ref().map(|difference| difference.line);
            let why = reason(&before, &after, &path, data.is_some(), i == 0);
            // What cannot be read at the end was being written.
            let is_torn = is_last && found.is_none();
            match (found, why) {
                (Some(line), None) if line == i + 1 => n_found += 1,
                (Some(line), Some(_)) if line > i => n_found += 1,
                (None, Some(_)) => n_nothing += 1,
                _ if is_torn && path.ends_with('-') => n_nothing += 1,
                _ => panic!(
                    "line {}, {path}: found {:?}\n{old}{}",
                    i + 1,
                    audit.difference,
                    line(&after)
                ),
            }
        }
    }
    println!(
        "{} lines: {n_found} edits found, {n_nothing} of no meaning",
        lines.len()
    );
    assert!(
        n_found > 5 * n_nothing,
        "{n_found} found, {n_nothing} of no meaning"
    );
}

#[test]
fn an_edited_field_is_found_on_its_line() {
    let made = networks();
    check_fields(&made, course(&made).as_ref());
}

#[test]
fn an_edited_field_is_found_without_the_data() {
    check_fields(&networks(), None);
}

#[test]
fn an_edited_field_of_a_random_search_is_found() {
    let made = random();
    check_fields(&made, course(&made).as_ref());
}

#[test]
fn an_edited_field_of_a_search_for_cells_is_found() {
    check_fields(&cells(), None);
}

fn event(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    value["event"].as_str().unwrap().to_owned()
}

/// Whether a child's line is of a fault that a later line of the same sample takes the place of.
fn is_tried_again(lines: &[&str], i: usize) -> bool {
    let sample = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        (value["event"] == "child").then(|| value["sample"].clone())
    };
    let own = sample(lines[i]);
    own.is_some()
        && lines
            .iter()
            .enumerate()
            .any(|(j, line)| j != i && sample(line) == own)
}

/// Whether a child is of the last batch, and that has no update: others of it may be to come.
fn is_of_a_batch_under_way(lines: &[&str], i: usize) -> bool {
    let after = lines[i..]
        .iter()
        .map(|line| serde_json::from_str(line).unwrap());
    let after: Vec<Value> = after.collect();
    let is_over = |line: &Value| {
        line["event"] == "update" || line["batch"].as_u64() > after[0]["batch"].as_u64()
    };
    after[0]["event"] == "child" && !after.iter().any(is_over)
}

#[test]
fn a_line_left_out_written_twice_or_exchanged_is_found() {
    for made in [networks(), random(), cells()] {
        let text = made.text();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let found = |lines: Vec<&str>| {
            let audit = made.audit_of(&lines.concat(), None);
            audit.difference.map(|difference| difference.line)
        };
        let mut n_found = 0;
        for i in 0..lines.len() {
            let (kind, is_last) = (event(lines[i]), i + 1 == lines.len());
            let without = [&lines[..i], &lines[i + 1..]].concat();
            let twice = [&lines[..=i], &lines[i..]].concat();
            // A line that means nothing, a session that did nothing, a fault that was not the last
            // word, the end that was not written yet: an honest run may lack them.
            let may_lack = ["lost", "stop"].contains(&kind.as_str())
                || (kind == "run" && i > 0)
                || is_last
                || is_tried_again(&lines, i)
                || is_of_a_batch_under_way(&lines, i);
            match found(without) {
                Some(line) => {
                    assert!(line > i, "line {} left out, found on {line}", i + 1);
                    n_found += 1;
                }
                None => assert!(may_lack, "line {} left out unnoticed: {}", i + 1, lines[i]),
            }
            // A session may begin and be killed at once.
            let may_repeat = ["lost", "run"].contains(&kind.as_str());
            match found(twice) {
                Some(line) => assert!(line > i + 1, "line {} twice, found on {line}", i + 1),
                None => assert!(may_repeat, "line {} twice unnoticed: {}", i + 1, lines[i]),
            }
            if is_last || lines[i] == lines[i + 1] {
                continue;
            }
            let mut exchanged = lines.clone();
            exchanged.swap(i, i + 1);
            let next = event(lines[i + 1]);
            let pair = [kind.as_str(), next.as_str()];
            // Children end in any order; a session may end and begin between any two lines.
            let may_change = pair == ["child", "child"]
                || pair.contains(&"lost")
                || (pair.contains(&"run") && !pair.contains(&"stop") && i > 0);
            match found(exchanged) {
                Some(line) => {
                    assert!(
                        line > i,
                        "lines {} and {} exchanged, found on {line}",
                        i + 1,
                        i + 2
                    );
                    n_found += 1;
                }
                None => assert!(
                    may_change,
                    "lines {} and {} exchanged unnoticed",
                    i + 1,
                    i + 2
                ),
            }
        }
        assert!(
            n_found > lines.len() / 2,
            "{n_found} of {} lines",
            lines.len()
        );
    }
}
