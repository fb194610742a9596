//! The few elements of SVG that drawings are made of. No style sheets and no ids: several drawings may stand in
//! one page.

use std::fmt::Write;

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
}

impl Canvas {
    /// A box of one of the [`Paint`]s, with words that show where a pointer rests on it.
    pub fn rect(&mut self, Rect { x, y, w, h }: Rect, paint: Paint, title: &str) {
        let Paint { fill, edge } = paint;
        let title = escaped(title);
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"7\" \
             fill=\"{fill}\" stroke=\"{edge}\" stroke-width=\"1.2\"><title>{title}</title></rect>"
        ));
    }

    /// A line of text about its middle; `size` in pixels.
    pub fn text(&mut self, (x, y): (f64, f64), size: u32, bold: bool, text: &str) {
        let weight = if bold { "600" } else { "400" };
        let text = escaped(text);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" {FONT} font-size=\"{size}\" font-weight=\"{weight}\" \
             fill=\"{INK}\" text-anchor=\"middle\">{text}</text>"
        ));
    }

    /// A curve or a line by SVG's path commands.
    pub fn path(&mut self, path: &str, stroke: &Stroke, title: &str) {
        let Stroke {
            colour,
            width,
            dashed,
        } = stroke;
        let dashes = match dashed {
            true => " stroke-dasharray=\"5 3\"",
            false => "",
        };
        let title = escaped(title);
        self.add(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}>\
             <title>{title}</title></path>"
        ));
    }

    /// The head of an arrow whose tip is here and which comes from the direction (dx, dy) of length 1.
    pub fn head(&mut self, (x, y): (f64, f64), (dx, dy): (f64, f64), colour: &str) {
        let (back, aside) = (7.0, 3.2);
        let (base_x, base_y) = (x + back * dx, y + back * dy);
        let (left_x, left_y) = (base_x - aside * dy, base_y + aside * dx);
        let (right_x, right_y) = (base_x + aside * dy, base_y - aside * dx);
        self.add(format_args!(
            "<path d=\"M{x:.1},{y:.1} L{left_x:.1},{left_y:.1} L{right_x:.1},{right_y:.1} Z\" \
             fill=\"{colour}\"/>"
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments) {
        // A string takes all that is written to it.
        let _ = writeln!(self.elements, "{element}");
    }

    /// The whole drawing, of this size, on white.
    pub fn finish(self, w: f64, h: f64, title: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" \
             viewBox=\"0 0 {w:.0} {h:.0}\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"{w:.0}\" height=\"{h:.0}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            escaped(title),
            self.elements
        )
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
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

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
    }
}
