//! The style of a server: the hue shows its family, dash and marker are its own.

use std::collections::BTreeMap;

use plotters::style::RGBColor;
use record::Server;

/// Text.
pub const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
/// Labels of ticks and values next to marks.
pub const MUTED: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
/// The background, for hollow marks.
pub const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);

/// One placeholder for each hue; the style sheet has a light and a dark value for each. The first
/// five are colours of the Okabe-Ito palette with a contrast of at least 3:1 on white.
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

/// Shapes of marks. Together with [`DASHES`] they distinguish 28 servers of one hue.
pub const MARKERS: [Marker; 7] = [
    Marker::Circle,
    Marker::Square,
    Marker::Triangle,
    Marker::Diamond,
    Marker::Cross,
    Marker::Wedge,
    Marker::Plus,
];

/// The number of dash patterns in the style sheet, as classes `dash-0` and so on.
pub const DASHES: usize = 4;

/// The shape of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// A disc.
    Circle,
    /// A square.
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

/// The style of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    hue: usize,
    member: usize,
}

impl Style {
    /// The placeholder colour of its family.
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
    /// Assigns hues in the order in which families appear. If there are more families than hues,
    /// families that share a hue also share its dashes and markers.
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
    fn thirty_servers_have_distinct_styles_and_a_family_has_one_hue() {
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
