//! Text from outside, made safe to print.
//!
//! Names and messages of other programs can hold escape sequences that control a terminal, and
//! direction characters that reorder the text around them.

/// The text as one line; control and direction characters become U+FFFD.
pub fn plain_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_whitespace() { ' ' } else { harmless(c) })
        .collect()
}

/// Like [`plain_line`], but keeps line feeds and tabs.
pub fn plain_lines(text: &str) -> String {
    let keep = |c| matches!(c, '\n' | '\t');
    text.chars()
        .map(|c| if keep(c) { c } else { harmless(c) })
        .collect()
}

fn harmless(c: char) -> char {
    let directs = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_noncharacter = matches!(c, '\u{fffe}' | '\u{ffff}');
    if c.is_control() || directs || is_noncharacter {
        '\u{fffd}'
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_are_replaced() {
        assert_eq!(plain_line("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb c");
        assert_eq!(plain_lines("a\n\u{202e}b"), "a\n\u{fffd}b");
    }
}
