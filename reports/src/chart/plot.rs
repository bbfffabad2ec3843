//! A drawing: a frame with two axes, and a group for each series.

use askama::filters::{Html, escape};
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};

use super::axis::Axis;
use super::figure::Error;
use super::style::{GRID, INK, MUTED, Marker, PAPER, Style};

/// How much larger than shown the figures are drawn, because plotters has whole coordinates.
pub const ZOOM: i32 = 10;

/// Height of text in a figure, in units of the page.
const TEXT: f64 = 12.5;

/// plotters divides text sizes by this.
const PLOTTERS_TEXT: f64 = 1.24;

/// Half the width of a mark, in units of the page.
const MARK: f64 = 4.0;

/// The distance at which labels do not touch.
pub const LABEL_GAP: f64 = 15.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A position in units of the page, from the upper left.
type Place = (f64, f64);

/// The space around the axes.
#[derive(Clone, Copy)]
pub struct Margins {
    /// Above: the title of the y axis.
    pub top: f64,
    /// For the labels of the lines.
    pub right: f64,
    /// Below: ticks and title of the x axis.
    pub bottom: f64,
    /// For the ticks of the y axis.
    pub left: f64,
}

/// A drawing in progress.
pub struct Plot {
    width: f64,
    height: f64,
    margins: Margins,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    groups: String,
}

/// The width of a text, estimated for a wide font: the reader's font is unknown.
pub fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * TEXT * 0.58
}

/// A name, shortened if it would take too much of a figure; tables show it in full.
pub fn cut(name: &str) -> String {
    const SHOWN: usize = 18;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", name[..end].trim_end()),
        None => name.to_owned(),
    }
}

impl Plot {
    /// An empty drawing.
    pub fn new(width: f64, height: f64, margins: Margins, x: Axis, y: Axis) -> Self {
        Plot {
            width,
            height,
            margins,
            x,
            y,
            groups: String::new(),
        }
    }

    /// The position of a point.
    pub fn at(&self, x: f64, y: f64) -> Place {
        let Margins {
            top,
            right,
            bottom,
            left,
        } = self.margins;
        let across = self.width - left - right;
        let down = self.height - top - bottom;
        (
            left + across * self.x.share(x),
            top + down * (1.0 - self.y.share(y)),
        )
    }

    /// The right end of the x axis.
    pub fn right(&self) -> f64 {
        self.width - self.margins.right
    }

    /// The upper and lower end of the y axis.
    pub fn vertical(&self) -> (f64, f64) {
        (self.margins.top, self.height - self.margins.bottom)
    }

    /// Draws grid, ticks and titles of both axes. A tick whose label would touch the one before
    /// has none.
    pub fn frame(&mut self) -> Result<(), Error> {
        let (top, bottom) = self.vertical();
        let (left, right) = (self.margins.left, self.right());
        let drawn = layer(self.size(), |pen| {
            for (value, label) in &self.y.ticks {
                let (_, y) = self.at(0.0, *value);
                pen.line(&[(left, y), (right, y)], GRID, 1.0)?;
                pen.text(label, (left - 8.0, y), HPos::Right, MUTED)?;
            }
            let mut free = f64::NEG_INFINITY;
            for (value, label) in &self.x.ticks {
                let (x, _) = self.at(*value, 0.0);
                pen.line(&[(x, top), (x, bottom)], GRID, 1.0)?;
                let half = text_width(label) / 2.0;
                if x - half >= free {
                    pen.text(label, (x, bottom + 14.0), HPos::Center, MUTED)?;
                    free = x + half + 6.0;
                }
            }
            pen.line(&[(left, bottom), (right, bottom)], MUTED, 1.0)?;
            pen.text(
                &self.x.title,
                ((left + right) / 2.0, bottom + 33.0),
                HPos::Center,
                INK,
            )?;
            pen.text(&self.y.title, (4.0, 9.0), HPos::Left, INK)
        })?;
        self.groups += &format!("<g class=\"frame\" aria-hidden=\"true\">{drawn}</g>");
        Ok(())
    }

    /// Draws one server in a group with its name.
    pub fn series(
        &mut self,
        server: &str,
        hint: &str,
        dash: usize,
        line: impl FnOnce(&Pen<'_>, &Self) -> Result<(), Error>,
        marks: impl FnOnce(&Pen<'_>, &Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = layer(self.size(), |pen| line(pen, self))?;
        let marks = layer(self.size(), |pen| marks(pen, self))?;
        let (server, hint) = (escaped(server), escaped(hint));
        self.groups += &format!(
            "<g class=\"series\" data-server=\"{server}\"><title>{hint}</title><g class=\"dash-{dash}\">{line}</g>{marks}</g>"
        );
        Ok(())
    }

    /// The finished SVG.
    pub fn svg(&self) -> String {
        wrap(self.size(), &self.groups)
    }

    fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }
}

/// Draws in units of the page.
pub struct Pen<'a> {
    area: Area<'a>,
}

impl Pen<'_> {
    /// A line through some positions.
    pub fn line(&self, places: &[Place], color: RGBColor, width: f64) -> Result<(), Error> {
        self.draw(&PathElement::new(zoomed(places), stroke(color, width)))
    }

    /// A whisker with caps between two positions.
    pub fn whisker(&self, from: Place, to: Place, color: RGBColor) -> Result<(), Error> {
        const CAP: f64 = 3.0;
        let upright = (to.0 - from.0).abs() < (to.1 - from.1).abs();
        let (across, down) = if upright { (CAP, 0.0) } else { (0.0, CAP) };
        self.line(&[from, to], color, 1.2)?;
        for (x, y) in [from, to] {
            self.line(&[(x - across, y - down), (x + across, y + down)], color, 1.2)?;
        }
        Ok(())
    }

    /// The mark of a server; hollow if the verdict leaves it out.
    pub fn mark(&self, (x, y): Place, style: Style, hollow: bool) -> Result<(), Error> {
        let around = |points: &[(f64, f64)]| -> Vec<Place> {
            points
                .iter()
                .map(|(dx, dy)| (x + dx * MARK, y + dy * MARK))
                .collect()
        };
        match style.marker() {
            Marker::Circle => self.disc((x, y), style.color(), hollow),
            Marker::Square => {
                let corners = around(&[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]);
                self.shape(corners, style.color(), hollow)
            }
            Marker::Triangle => self.shape(
                around(&[(0.0, -1.15), (1.1, 0.8), (-1.1, 0.8)]),
                style.color(),
                hollow,
            ),
            Marker::Wedge => self.shape(
                around(&[(0.0, 1.15), (1.1, -0.8), (-1.1, -0.8)]),
                style.color(),
                hollow,
            ),
            Marker::Diamond => {
                let corners = around(&[(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)]);
                self.shape(corners, style.color(), hollow)
            }
            Marker::Cross => self.strokes(
                around(&[(-0.9, -0.9), (0.9, 0.9), (-0.9, 0.9), (0.9, -0.9)]),
                style,
                hollow,
            ),
            Marker::Plus => self.strokes(
                around(&[(-1.1, 0.0), (1.1, 0.0), (0.0, -1.1), (0.0, 1.1)]),
                style,
                hollow,
            ),
        }
    }

    /// A text, centred vertically at a position.
    pub fn text(&self, text: &str, (x, y): Place, anchor: HPos, color: RGBColor) -> Result<(), Error> {
        let style = TextStyle {
            // The style sheet sets the real family.
            font: (
                FontFamily::SansSerif,
                TEXT * f64::from(ZOOM) * PLOTTERS_TEXT,
                FontStyle::Normal,
            )
                .into(),
            color: color.to_backend_color(),
            pos: Pos::new(anchor, VPos::Center),
        };
        self.draw(&Text::new(text.to_owned(), zoom((x, y)), style))
    }

    fn disc(&self, place: Place, color: RGBColor, hollow: bool) -> Result<(), Error> {
        let radius = MARK * f64::from(ZOOM);
        if hollow {
            self.draw(&Circle::new(zoom(place), radius, PAPER.filled()))?;
            return self.draw(&Circle::new(zoom(place), radius, stroke(color, 1.6)));
        }
        self.draw(&Circle::new(zoom(place), radius, color.filled()))
    }

    fn shape(&self, corners: Vec<Place>, color: RGBColor, hollow: bool) -> Result<(), Error> {
        let fill = if hollow { PAPER } else { color };
        self.draw(&Polygon::new(zoomed(&corners), fill.filled()))?;
        if hollow {
            let closed: Vec<Place> = corners.iter().chain(corners.first()).copied().collect();
            self.line(&closed, color, 1.6)?;
        }
        Ok(())
    }

    /// A mark of strokes has no inside, so it is thin instead of hollow.
    fn strokes(&self, ends: Vec<Place>, style: Style, hollow: bool) -> Result<(), Error> {
        let width = if hollow { 1.0 } else { 2.2 };
        ends.chunks(2)
            .try_for_each(|stroke| self.line(stroke, style.color(), width))
    }

    fn draw<E>(&self, element: &E) -> Result<(), Error>
    where
        for<'b> &'b E: plotters::element::PointCollection<'b, (i32, i32)>,
        E: for<'b> plotters::element::Drawable<SVGBackend<'b>>,
    {
        self.area
            .draw(element)
            .map_err(|error| Error::Draw(error.to_string()))
    }
}

/// The symbol of a server in a legend: its line with its mark.
pub fn key(style: Style) -> Result<String, Error> {
    let size = (34.0, 14.0);
    let line = layer(size, |pen| {
        pen.line(&[(1.0, 7.0), (33.0, 7.0)], style.color(), 1.8)
    })?;
    let mark = layer(size, |pen| pen.mark((17.0, 7.0), style, false))?;
    Ok(wrap(
        size,
        &format!("<g class=\"dash-{}\">{line}</g>{mark}", style.dash()),
    ))
}

fn stroke(color: RGBColor, width: f64) -> ShapeStyle {
    ShapeStyle {
        color: color.to_rgba(),
        filled: false,
        stroke_width: (width * f64::from(ZOOM)).round() as u32,
    }
}

fn zoom((x, y): Place) -> (i32, i32) {
    let scaled = |value: f64| (value * f64::from(ZOOM)).round() as i32;
    (scaled(x), scaled(y))
}

fn zoomed(places: &[Place]) -> Vec<(i32, i32)> {
    places.iter().copied().map(zoom).collect()
}

fn escaped(text: &str) -> String {
    match escape(text, Html) {
        Ok(safe) => safe.to_string(),
        Err(never) => match never {},
    }
}

/// Draws with plotters and returns the content of its `<svg>`.
fn layer(size: (f64, f64), draw: impl FnOnce(&Pen<'_>) -> Result<(), Error>) -> Result<String, Error> {
    let mut text = String::new();
    let (width, height) = zoom(size);
    let area =
        SVGBackend::with_string(&mut text, (width.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    let pen = Pen { area };
    draw(&pen)?;
    pen.area
        .present()
        .map_err(|error| Error::Draw(error.to_string()))?;
    drop(pen);
    let (_, inner) = text.split_once('>').unwrap_or_default();
    let (inner, _) = inner.rsplit_once("</svg>").unwrap_or_default();
    // The style sheet sets these for all elements.
    Ok(inner
        .replace(" opacity=\"1\"", "")
        .replace(" font-family=\"sans-serif\"", "")
        .replace('\n', ""))
}

fn wrap(size: (f64, f64), groups: &str) -> String {
    let (width, height) = zoom(size);
    format!("<svg viewBox=\"0 0 {width} {height}\" aria-hidden=\"true\" focusable=\"false\">{groups}</svg>")
}
