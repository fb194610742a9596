//! Numbers, durations, sizes, digests and names as people read them.
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::Path;

/// A range of whole numbers, as what is to be given; one that ends with the largest number of TOML has
/// no end.
pub fn whole_number(range: &RangeInclusive<u64>) -> String {
    let (low, high) = (range.start(), range.end());
    match *high >= i64::MAX as u64 {
        true => format!("a whole number of {low} or more"),
        false => format!("a whole number from {low} to {high}"),
    }
}

/// A whole number with commas.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits are ASCII"))
        .collect();
    groups.join(",")
}

/// A duration in its two largest units.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        _ if seconds < 9.95 => format!("{:.1}s", seconds.max(0.0)),
        (0, 0, 0) => format!("{whole}s"),
        (0, 0, _) => format!("{minutes}m {:02}s", whole % 60),
        (0, _, _) => format!("{hours}h {minutes:02}m"),
        _ => format!("{days}d {hours:02}h"),
    }
}

/// A size in memory.
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        _ if n < 1e3 => format!("{n} B"),
        _ if n < 1e6 => format!("{:.1} kB", n / 1e3),
        _ if n < 1e9 => format!("{:.1} MB", n / 1e6),
        _ => format!("{:.2} GB", n / 1e9),
    }
}

/// A share or reward, or a dash where there is none.
pub fn share(x: Option<f64>) -> String {
    x.map_or("-".to_owned(), |x| format!("{x:.4}"))
}

/// The bytes of a digest in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text without the byte order mark that some editors put before it.
pub fn strip_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The longest name that [`nearest`] looks at: the comparison takes time quadratic in the length.
const LONGEST_NAME: usize = 40;

/// The known name that a mistyped one is nearest to in spelling, if it is near any.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let short = |name: &str| name.len() <= LONGEST_NAME;
    known
        .into_iter()
        .filter(|other| short(name) && short(other))
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other)
}

/// A text whose control characters do nothing to a terminal: `\n`, `\x1b` and the like in their place.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, char::is_control)
}

/// As [`one_line`], of a text of several lines and columns.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && c != '\n' && c != '\t')
}

/// As [`lines`], of comma-separated values, whose quoted fields may hold line breaks of either kind.
pub fn records(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => shown.push(c),
            '\n' => shown += r"\n",
            '\r' => shown += r"\r",
            '\t' => shown += r"\t",
            c if c.is_ascii() => shown += &format!(r"\x{:02x}", u32::from(c)),
            c => shown += &format!(r"\u{:04x}", u32::from(c)),
        }
    }
    shown.into()
}

/// A path as a shell hands it on: quoted where it holds more than letters, digits and `/._-+=:,@%`, and
/// never a flag. Control characters are written as shells read them, `$'a\nb'`.
pub fn shell_path(path: &Path) -> String {
    let mut word = path.display().to_string();
    if word.starts_with('-') {
        word.insert_str(0, "./");
    }
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word,
        false if word.contains(char::is_control) => {
            let word = word.replace('\\', r"\\").replace('\'', r"\'");
            format!("$'{}'", one_line(&word))
        }
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_the_one_that_was_meant() {
        let known = ["epochs", "batch", "learning_rate", "train", "momentum"];
        let near = |name| nearest(name, known);
        assert_eq!(near("epoch"), Some("epochs"));
        assert_eq!(near("trian"), Some("train"));
        assert_eq!(near("batch_size"), Some("batch"));
        assert_eq!(near("lerning_rates"), Some("learning_rate"));
        assert_eq!(near("dropout"), None);
        assert_eq!(near(&"epochs".repeat(10_000)), None);
    }

    #[test]
    fn control_characters_are_shown() {
        for (text, line, several) in [
            ("plain, ü 火", "plain, ü 火", "plain, ü 火"),
            ("a\n\tb\r", r"a\n\tb\r", "a\n\tb\\r"),
            (
                "\x1b[31m\x07\x7f\u{9b}",
                r"\x1b[31m\x07\x7f\u009b",
                r"\x1b[31m\x07\x7f\u009b",
            ),
            (r"\n", r"\n", r"\n"),
        ] {
            assert_eq!((&*one_line(text), &*lines(text)), (line, several));
        }
        assert_eq!(records("\"a\r\nb\",\tc\x1b\n"), "\"a\r\nb\",\tc\\x1b\n");
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, word) in [
            ("a/b-1.bin", "a/b-1.bin"),
            ("-a", "./-a"),
            ("it's here", r"'it'\''s here'"),
            ("a\nb", r"$'a\nb'"),
            ("a\\\x1b'", r"$'a\\\x1b\''"),
            ("", "''"),
        ] {
            assert_eq!(shell_path(Path::new(path)), word);
        }
    }

    #[test]
    fn words() {
        for (text, bare) in [("\u{feff}a", "a"), ("a\u{feff}", "a\u{feff}"), ("", "")] {
            assert_eq!(strip_bom(text), bare);
        }
        assert_eq!(hex(&[0, 0x0a, 0xff]), "000aff");
        assert_eq!(
            [0, 999, 1_000, 4_201_630].map(count),
            ["0", "999", "1,000", "4,201,630"]
        );
        let durations = [0.04, 9.96, 59.4, 61.0, 3_599.0, 7_260.0, 90_000.0].map(duration);
        assert_eq!(
            durations,
            [
                "0.0s", "10s", "59s", "1m 01s", "59m 59s", "2h 01m", "1d 01h"
            ]
        );
        assert_eq!(
            [12, 1_500, 2_000_000, 3_210_000_000].map(bytes),
            ["12 B", "1.5 kB", "2.0 MB", "3.21 GB"]
        );
        assert_eq!([None, Some(0.25)].map(share), ["-", "0.2500"]);
    }
}
