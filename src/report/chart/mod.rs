//! Charts as SVG: lines with bands, steps and dots, and areas that stand on one another. The colours are
//! those of the page that they stand in; [`standalone`] brings them along.

mod plot;
pub mod scale;

use std::borrow::Cow;
use std::fmt::Write;

use plot::Plot;

/// Points of a line at most: more than these would be closer than a printer's dots.
pub const MOST_POINTS: usize = 600;

/// Colours there are, after which they begin anew.
pub const COLOURS: usize = 10;

/// How the points of a series are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Joined.
    Line,
    /// Each value holds until the next one.
    Step,
    /// Each alone.
    Dots,
}

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend calls it; nothing where the legend leaves it out.
    pub name: String,
    /// Number of its colour.
    pub colour: usize,
    /// How it is shown.
    pub mark: Mark,
    /// Whether its line has gaps, to tell it from another of its colour.
    pub dashed: bool,
    /// From left to right.
    pub points: Vec<[f64; 2]>,
    /// What lies around it: place, lower and upper end.
    pub band: Vec<[f64; 3]>,
}

impl Series {
    /// A line without a band.
    pub fn line(name: impl Into<String>, colour: usize, points: Vec<[f64; 2]>) -> Series {
        Series {
            name: name.into(),
            colour,
            mark: Mark::Line,
            dashed: false,
            points,
            band: vec![],
        }
    }
}

/// What an axis measures.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    /// In words, with the unit.
    pub label: String,
    /// Its ends, where the values do not decide them.
    pub ends: Option<[f64; 2]>,
    /// Whether no tick lies between whole numbers.
    pub whole: bool,
}

impl Axis {
    /// Of whole numbers from 0 on, such as samples.
    pub fn samples(n: u64) -> Axis {
        Axis {
            label: "samples".to_owned(),
            ends: Some([0.0, n.max(1) as f64]),
            whole: true,
        }
    }

    /// Whose values decide its ends.
    pub fn of(label: impl Into<String>) -> Axis {
        Axis {
            label: label.into(),
            ..Axis::default()
        }
    }

    /// From 0 to 1.
    pub fn share(label: impl Into<String>) -> Axis {
        Axis {
            label: label.into(),
            ends: Some([0.0, 1.0]),
            whole: false,
        }
    }
}

/// What a chart shows.
#[derive(Clone, Debug)]
pub enum Content {
    /// Lines, the first below the others.
    Lines(Vec<Series>),
    /// Shares of a whole that stand on one another: their names, and at each place the shares.
    Areas(Vec<String>, Vec<(f64, Vec<f64>)>),
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Name of its file, without the ending.
    pub name: String,
    /// Above it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From below.
    pub y: Axis,
    /// What it shows.
    pub content: Content,
    /// Width and height of the picture.
    pub size: [f64; 2],
}

/// Width and height of a chart that has a row of a page.
pub const WIDE: [f64; 2] = [960.0, 340.0];
/// Of one beside another.
pub const HALF: [f64; 2] = [470.0, 280.0];

/// Height of a line of words.
const LINE: f64 = 18.0;
/// Width of a letter, as the widest fonts have it on average.
const LETTER: f64 = 6.9;
/// Letters of a name in a legend at most.
const LONGEST_NAME: usize = 52;
/// Room at the sides of the plot: left, right, below.
const MARGIN: [f64; 3] = [72.0, 16.0, 46.0];

impl Chart {
    /// The picture, for a page that has [`STYLE`].
    pub fn svg(&self) -> String {
        let mut legend = String::new();
        let below_title = self.legend(&mut legend);
        let [width, height] = self.size;
        // A long legend takes no room from the plot.
        let height = height + (below_title - 3.0 * LINE).max(0.0);
        let mut svg = format!(
            "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-label=\"{title}\"><text class=\"title\" x=\"8\" y=\"17\">{title}</text>{legend}",
            title = escaped(&self.title)
        );
        let plot = Plot::new(self, 28.0 + below_title, height);
        plot.axes(self, &mut svg);
        match &self.content {
            Content::Lines(series) => {
                for one in series {
                    plot.band(one, &mut svg);
                }
                for one in series {
                    plot.series(one, &mut svg);
                }
            }
            Content::Areas(names, places) => plot.areas(names, places, &mut svg),
        }
        svg += "</svg>";
        svg
    }

    /// What the legend names, and the class of its sign.
    fn named(&self) -> Vec<(&str, String)> {
        match &self.content {
            Content::Lines(series) => {
                let named = series.iter().filter(|series| !series.name.is_empty());
                let class = |series: &Series| match series.mark {
                    Mark::Dots => format!("f{} dots", series.colour % COLOURS),
                    _ if series.dashed => format!("s{} dashed", series.colour % COLOURS),
                    _ => format!("s{}", series.colour % COLOURS),
                };
                named.map(|series| (&*series.name, class(series))).collect()
            }
            Content::Areas(names, _) => {
                let class = |i: usize| format!("f{}", i % COLOURS);
                names
                    .iter()
                    .enumerate()
                    .map(|(i, name)| (&**name, class(i)))
                    .collect()
            }
        }
    }

    /// Writes the legend below the title, in as many lines as it takes; their height.
    fn legend(&self, svg: &mut String) -> f64 {
        let (mut x, mut y) = (8.0, 28.0 + LINE / 2.0);
        let named = self.named();
        for (name, class) in &named {
            let name = shortened(name);
            let room = 26.0 + (name.chars().count() as f64) * LETTER + 14.0;
            if x > 8.0 && x + room > self.size[0] {
                (x, y) = (8.0, y + LINE);
            }
            let _ = match class.starts_with('s') {
                true => write!(svg, "<path class=\"{class}\" d=\"M{x} {y}h20\"/>"),
                false => write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"10\" height=\"10\"/>",
                    x + 8.0,
                    y - 5.0
                ),
            };
            let _ = write!(
                svg,
                "<text x=\"{}\" y=\"{}\">{}</text>",
                x + 26.0,
                y + 4.0,
                escaped(&name)
            );
            x += room;
        }
        match named.is_empty() {
            true => 0.0,
            false => y - 28.0 + LINE / 2.0 + 4.0,
        }
    }

    /// Every number along an axis, 0 from left to right, 1 from below.
    fn values(&self, axis: usize) -> Vec<f64> {
        match &self.content {
            Content::Lines(series) => {
                let points = series
                    .iter()
                    .flat_map(|one| one.points.iter().map(|p| p[axis]));
                let bands = series.iter().flat_map(|one| {
                    let of = if axis == 0 { 0..1 } else { 1..3 };
                    one.band
                        .iter()
                        .flat_map(move |band| band[of.clone()].iter().copied())
                });
                points.chain(bands).collect()
            }
            Content::Areas(_, places) => match axis {
                0 => places.iter().map(|(x, _)| *x).collect(),
                _ => vec![0.0, 1.0],
            },
        }
    }
}

/// At most so many of some things, evenly from the first to the last.
pub fn evenly(n: usize, most: usize) -> Vec<usize> {
    if n <= most || most < 2 {
        return (0..n).collect();
    }
    (0..most).map(|i| i * (n - 1) / (most - 1)).collect()
}

/// A name that a line of the narrowest chart holds.
fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(LONGEST_NAME) {
        None => name.into(),
        Some((end, _)) => format!("{}…", &name[..end]).into(),
    }
}

/// What charts look like, with light and dark colours.
pub const STYLE: &str = include_str!("style.css");

/// A picture that brings its colours along, for a file of its own.
pub fn standalone(svg: &str) -> String {
    let end = svg.find('>').map_or(0, |end| end + 1);
    let (head, rest) = svg.split_at(end);
    format!("{head}<style>{STYLE}svg{{background:var(--paper)}}</style>{rest}\n")
}

/// A text in which nothing is taken for a tag.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            // No document may hold the other control characters, not even as numbers.
            c if c.is_control() && c != '\n' && c != '\t' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
