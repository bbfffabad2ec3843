//! How a server looks: its hue is its family, its dash and marker are its own.

use std::collections::BTreeMap;

use plotters::style::RGBColor;
use record::Server;

/// Text.
pub const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
/// Titles of axes and values beside marks.
pub const MUTED: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
/// The ground, for marks that are hollow.
pub const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);

/// One sentinel for each hue. The first five are those of the Okabe-Ito palette with a
/// contrast of at least 3:1 on white; the style sheet gives every one a value for light
/// and one for dark.
pub const HUES: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0x8A, 0x6D, 0x00),
    RGBColor(0x5B, 0x3F, 0xA0),
    RGBColor(0x6B, 0x72, 0x80),
];

/// Shapes of marks. With [`DASHES`] they tell 28 members of a hue apart.
pub const MARKERS: [Marker; 7] = [
    Marker::Circle,
    Marker::Square,
    Marker::Triangle,
    Marker::Diamond,
    Marker::Cross,
    Marker::Wedge,
    Marker::Plus,
];

/// Dash patterns that the style sheet knows, as classes `dash-0` and so on.
pub const DASHES: usize = 4;

/// The shape of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// A disc.
    Circle,
    /// A square on its side.
    Square,
    /// A triangle that points up.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// Two diagonal strokes.
    Cross,
    /// A triangle that points down.
    Wedge,
    /// Two upright strokes.
    Plus,
}

/// How one server looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    hue: usize,
    member: usize,
}

impl Style {
    /// The sentinel of its family.
    pub fn color(self) -> RGBColor {
        HUES[self.hue % HUES.len()]
    }

    /// Its mark.
    pub fn marker(self) -> Marker {
        MARKERS[self.member % MARKERS.len()]
    }

    /// Its dash pattern.
    pub fn dash(self) -> usize {
        self.member % DASHES
    }
}

/// The style of every server of a run.
pub struct Styles(BTreeMap<String, Style>);

impl Styles {
    /// Hues in the order in which families appear. Families that share a hue, when there
    /// are more of them than hues, count their members on.
    pub fn of(servers: &[Server]) -> Self {
        let mut families: Vec<&str> = Vec::new();
        let mut members = [0; HUES.len()];
        let mut styles = BTreeMap::new();
        for server in servers {
            let place = families.iter().position(|family| *family == server.family);
            let place = place.unwrap_or_else(|| {
                families.push(&server.family);
                families.len() - 1
            });
            let hue = place % HUES.len();
            let style = Style {
                hue,
                member: members[hue],
            };
            members[hue] += 1;
            styles.insert(server.name.clone(), style);
        }
        Styles(styles)
    }

    /// The style of a server by name.
    pub fn style(&self, server: &str) -> Style {
        self.0.get(server).copied().unwrap_or(Style {
            hue: HUES.len() - 1,
            member: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Transport;

    #[test]
    fn no_two_of_thirty_servers_look_alike_and_a_family_has_one_hue() {
        let families = [
            "process",
            "thread",
            "readiness",
            "signal",
            "completion",
            "async",
            "datagram",
            "a",
            "b",
            "c",
        ];
        let servers: Vec<Server> = (0..30)
            .map(|index| Server {
                name: format!("server-{index}"),
                family: families[index * index % families.len()].into(),
                summary: String::new(),
                transport: Transport::Tcp,
            })
            .collect();
        let styles = Styles::of(&servers);
        for (index, one) in servers.iter().enumerate() {
            let own = styles.style(&one.name);
            for other in &servers[..index] {
                let others = styles.style(&other.name);
                let alike = own.color() == others.color()
                    && own.dash() == others.dash()
                    && own.marker() == others.marker();
                assert!(!alike, "{} and {}", one.name, other.name);
                assert!(one.family != other.family || own.color() == others.color());
            }
        }
    }
}
