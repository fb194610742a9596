//! Columns of text that line up.

use crate::text;

/// Where the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header, two blanks between columns, no blanks at the ends of lines. A row may
/// have fewer cells than the header; a name in a cell breaks no line.
pub fn aligned(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let titles: Vec<_> = header
        .iter()
        .map(|(title, _)| text::one_line(title))
        .collect();
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| text::one_line(cell)).collect())
        .collect();
    let lines = || std::iter::once(&titles).chain(&rows);
    let width = |column: usize| {
        let cells = lines().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for line in lines() {
        let cells = line.iter().zip(&widths).zip(header);
        let cells = cells.map(|((cell, &width), (_, align))| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let header = [
            ("name", Align::Left),
            ("n", Align::Right),
            ("note", Align::Left),
        ];
        let rows = [
            vec!["a".into(), "1000".into(), "x".into()],
            vec!["longer".into(), "7".into()],
            vec!["a\nb\x1b".into()],
        ];
        assert_eq!(
            aligned(&header, &rows),
            "name         n  note\na         1000  x\nlonger       7\na\\nb\\x1b\n"
        );
    }
}
