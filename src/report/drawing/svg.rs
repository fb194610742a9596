//! The few elements of SVG that drawings are made of. No style sheets and no ids: several drawings may stand in
//! one page.

use std::fmt::{self, Display, Formatter, Write};

/// Letters of boxes and labels.
const FONT: &str = "font-family=\"Helvetica, Arial, sans-serif\"";

/// Colour of letters.
const INK: &str = "#1f2933";

/// A box with rounded corners.
#[derive(Clone, Copy, Debug)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

/// A drawing in the making.
#[derive(Debug, Default)]
pub struct Canvas {
    elements: String,
    /// How the lines of the last group look, where nothing else has followed them.
    lines: Option<Stroke>,
    /// The heads of arrows of that group.
    heads: String,
}

impl Canvas {
    /// A box of one of the [`Paint`]s, with words that show where a pointer rests on it.
    pub fn rect(&mut self, Rect { x, y, w, h }: Rect, paint: Paint, title: &str) {
        let Paint { fill, edge } = paint;
        let (title, [x, y, w, h]) = (escaped(title), [x, y, w, h].map(Short));
        self.end_lines();
        self.add(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"7\" \
             fill=\"{fill}\" stroke=\"{edge}\" stroke-width=\"1.2\"><title>{title}</title></rect>"
        ));
    }

    /// A line of text about its middle; `size` in pixels.
    pub fn text(&mut self, (x, y): (f64, f64), size: u32, bold: bool, text: &str) {
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        let (text, x, y) = (escaped(text), Short(x), Short(y));
        self.end_lines();
        self.add(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{weight}>{text}</text>"
        ));
    }

    /// An arrow along a curve or a line by SVG's path commands. Those that look the same and follow each other are
    /// written as one group: a dense network has hundreds.
    pub fn arrow(&mut self, path: &str, head: Head, stroke: &Stroke, title: &str) {
        if self.lines != Some(*stroke) {
            self.end_lines();
            let Stroke {
                colour,
                width,
                dashed,
            } = stroke;
            let dashes = match dashed {
                true => " stroke-dasharray=\"5 3\"",
                false => "",
            };
            self.add(format_args!(
                "<g fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}>"
            ));
            self.lines = Some(*stroke);
        }
        match title {
            "" => self.add(format_args!("<path d=\"{path}\"/>")),
            _ => {
                let title = escaped(title);
                self.add(format_args!(
                    "<path d=\"{path}\"><title>{title}</title></path>"
                ));
            }
        }
        let _ = write!(self.heads, "{head}"); // a string takes all that is written to it
    }

    /// Ends a group of lines, and draws their heads.
    fn end_lines(&mut self) {
        if let Some(Stroke { colour, .. }) = self.lines.take() {
            self.add(format_args!("</g>"));
            let heads = std::mem::take(&mut self.heads);
            self.add(format_args!("<path fill=\"{colour}\" d=\"{heads}\"/>"));
        }
    }

    fn add(&mut self, element: std::fmt::Arguments) {
        let _ = writeln!(self.elements, "{element}");
    }

    /// The whole drawing, of this size, on white.
    pub fn finish(mut self, w: f64, h: f64, title: &str) -> String {
        self.end_lines();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" \
             viewBox=\"0 0 {w:.0} {h:.0}\" role=\"img\" {FONT} fill=\"{INK}\" \
             text-anchor=\"middle\">\n<title>{}</title>\n\
             <rect width=\"{w:.0}\" height=\"{h:.0}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            escaped(title),
            self.elements
        )
    }
}

/// A number to a tenth, in as few letters as it needs.
#[derive(Clone, Copy, Debug)]
pub struct Short(pub f64);

impl Display for Short {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}", (self.0 * 10.0).round() / 10.0)
    }
}

/// The head of an arrow.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Where its tip is.
    pub tip: (f64, f64),
    /// Where the arrow comes from: a direction of length 1.
    pub from: (f64, f64),
}

impl Display for Head {
    /// Its outline by SVG's path commands.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let (back, aside) = (7.0, 3.2);
        let ((x, y), (dx, dy)) = (self.tip, self.from);
        let (base_x, base_y) = (x + back * dx, y + back * dy);
        let left = (base_x - aside * dy, base_y + aside * dx);
        let right = (base_x + aside * dy, base_y - aside * dx);
        let [tip, left, right] = [(x, y), left, right].map(|(x, y)| [Short(x), Short(y)]);
        let ([x, y], [lx, ly], [rx, ry]) = (tip, left, right);
        write!(f, "M{x},{y}L{lx},{ly}L{rx},{ry}Z")
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    pub colour: &'static str,
    pub width: f64,
    pub dashed: bool,
}

/// Colours of a box.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    pub fill: &'static str,
    pub edge: &'static str,
}

/// Lines between neighbours.
pub const PLAIN: Stroke = Stroke {
    colour: "#52606d",
    width: 1.4,
    dashed: false,
};

pub const GREY: Paint = Paint {
    fill: "#eef1f4",
    edge: "#7b8794",
};
pub const BLUE: Paint = Paint {
    fill: "#e1effb",
    edge: "#3178b5",
};
pub const GREEN: Paint = Paint {
    fill: "#e3f4e6",
    edge: "#3a8a4d",
};
pub const YELLOW: Paint = Paint {
    fill: "#fdf3d7",
    edge: "#b48a1c",
};
pub const RED: Paint = Paint {
    fill: "#fde7e4",
    edge: "#bd4b3a",
};

/// Text as it stands in XML.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of one look are one group, however many; each has its head, also where other things come between.
    #[test]
    fn lines_are_grouped_by_their_look() {
        let mut canvas = Canvas::default();
        let dashed = Stroke {
            dashed: true,
            ..PLAIN
        };
        for (n, stroke) in [PLAIN, PLAIN, dashed, PLAIN].iter().enumerate() {
            let head = Head {
                tip: (n as f64 + 0.25, 1.0),
                from: (0.0, -1.0),
            };
            canvas.arrow("M0,0 L9,9", head, stroke, &format!("line {n}"));
        }
        canvas.text((1.0, 2.0), 12, true, "words");
        let svg = canvas.finish(10.0, 10.0, "lines");
        assert_eq!(
            (svg.matches("<g ").count(), svg.matches("</g>").count()),
            (3, 3),
            "{svg}"
        );
        assert_eq!(svg.matches("Z").count(), 4, "{svg}");
        assert!(svg.contains("d=\"M0.3,1L3.5,-6L-3,-6ZM1.3,1"), "{svg}");
        assert!(svg.find("line 3") < svg.rfind("Z") && svg.rfind("Z") < svg.find("words"));
    }

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
    }
}
