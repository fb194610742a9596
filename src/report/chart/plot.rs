//! What stands within the axes of a chart: numbers to places, lines, bands and areas to paths.

use std::fmt::Write;

use super::{Axis, COLOURS, Chart, MARGIN, Mark, Series, escaped, scale};

/// Where the numbers of a chart lie in its picture.
pub struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    ends: [[f64; 2]; 2],
}

impl Plot {
    /// Of a chart whose plot begins below `top`, in a picture of this height.
    pub fn new(chart: &Chart, top: f64, height: f64) -> Plot {
        let ends = |axis: &Axis, of: usize| {
            axis.ends
                .unwrap_or_else(|| scale::around(chart.values(of).into_iter()))
        };
        Plot {
            left: MARGIN[0],
            right: chart.size[0] - MARGIN[1],
            top: top + 6.0,
            bottom: height - MARGIN[2],
            ends: [ends(&chart.x, 0), ends(&chart.y, 1)],
        }
    }

    fn x(&self, value: f64) -> f64 {
        let [low, high] = self.ends[0];
        round(self.left + (value - low) / (high - low) * (self.right - self.left))
    }

    fn y(&self, value: f64) -> f64 {
        let [low, high] = self.ends[1];
        round(self.bottom - (value - low) / (high - low) * (self.bottom - self.top))
    }

    /// The axes, with ticks and what they measure.
    pub fn axes(&self, chart: &Chart, svg: &mut String) {
        let Plot {
            left,
            right,
            top,
            bottom,
            ends,
        } = *self;
        let [about_x, about_y] = [(right - left) / 75.0, (bottom - top) / 30.0];
        let across = scale::ticks(ends[0][0], ends[0][1], about_x as usize, chart.x.whole);
        let up = scale::ticks(ends[1][0], ends[1][1], about_y as usize, chart.y.whole);
        let [step_x, step_y] = [scale::distance(&across), scale::distance(&up)];
        for tick in up {
            let (y, words) = (self.y(tick), scale::label(tick, step_y));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left} {y}H{right}\"/>\
                 <text class=\"end\" x=\"{}\" y=\"{}\">{words}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        for tick in across {
            let (x, words) = (self.x(tick), scale::label(tick, step_x));
            let _ = write!(
                svg,
                "<path class=\"axis\" d=\"M{x} {bottom}v4\"/>\
                 <text class=\"middle\" x=\"{x}\" y=\"{}\">{words}</text>",
                bottom + 17.0
            );
        }
        let (middle, height) = ((left + right) / 2.0, (top + bottom) / 2.0);
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>\
             <text class=\"middle\" x=\"{middle}\" y=\"{}\">{}</text>\
             <text class=\"middle\" transform=\"translate(14 {height}) rotate(-90)\">{}</text>",
            bottom + 36.0,
            escaped(&chart.x.label),
            escaped(&chart.y.label)
        );
    }

    /// What lies around a line.
    pub fn band(&self, series: &Series, svg: &mut String) {
        if series.band.len() < 2 {
            return;
        }
        let upper = series.band.iter().map(|&[x, _, high]| (x, high));
        let lower = series.band.iter().rev().map(|&[x, low, _]| (x, low));
        let path = self.path(upper.chain(lower), false);
        let _ = write!(
            svg,
            "<path class=\"f{} band\" d=\"{path}Z\"/>",
            series.colour % COLOURS
        );
    }

    /// A line, or dots.
    pub fn series(&self, series: &Series, svg: &mut String) {
        let colour = series.colour % COLOURS;
        let points = series.points.iter().map(|&[x, y]| (x, y));
        let points = points.filter(|(x, y)| x.is_finite() && y.is_finite());
        // A line of one point is nothing to see.
        if series.mark == Mark::Dots || series.points.len() == 1 {
            let _ = write!(svg, "<g class=\"f{colour} dots\">");
            for (x, y) in points {
                let _ = write!(
                    svg,
                    "<circle cx=\"{}\" cy=\"{}\" r=\"2.2\"/>",
                    self.x(x),
                    self.y(y)
                );
            }
            *svg += "</g>";
            return;
        }
        let path = self.path(points, series.mark == Mark::Step);
        let dashed = if series.dashed { " dashed" } else { "" };
        let _ = write!(svg, "<path class=\"s{colour}{dashed}\" d=\"{path}\"/>");
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>, steps: bool) -> String {
        let mut path = String::new();
        for (i, (x, y)) in points.enumerate() {
            let (x, y) = (self.x(x), self.y(y));
            let _ = match (i, steps) {
                (0, _) => write!(path, "M{x} {y}"),
                (_, true) => write!(path, "H{x}V{y}"),
                (_, false) => write!(path, "L{x} {y}"),
            };
        }
        path
    }

    /// Areas: the first name's share stands at the bottom.
    pub fn areas(&self, names: &[String], places: &[(f64, Vec<f64>)], svg: &mut String) {
        let below = |shares: &[f64], n: usize| shares.iter().take(n).sum::<f64>();
        for (i, name) in names.iter().enumerate() {
            let upper = places.iter().map(|(x, shares)| (*x, below(shares, i + 1)));
            let lower = places
                .iter()
                .rev()
                .map(|(x, shares)| (*x, below(shares, i)));
            let path = self.path(upper.chain(lower), false);
            let class = i % COLOURS;
            let _ = write!(
                svg,
                "<path class=\"f{class} area\" d=\"{path}Z\"><title>{}</title></path>",
                escaped(name)
            );
        }
    }
}

/// A place in a tenth of a picture's point.
pub fn round(place: f64) -> f64 {
    match place.is_finite() {
        true => (place.clamp(-1e5, 1e5) * 10.0).round() / 10.0,
        false => 0.0,
    }
}
