//! Says what is wrong with received bytes: where they differ first, and what sends such bytes.

/// As many received bytes are shown.
const SHOWN: usize = 24;

/// Describes bytes that are not the expected echo. Both begin `offset` bytes into the connection, or
/// into the datagram; the bytes that are due end where `expected` does.
pub fn describe(offset: u64, expected: &[u8], received: &[u8]) -> String {
    let first = received
        .iter()
        .zip(expected)
        .position(|(one, other)| one != other);
    let at = first.unwrap_or(expected.len()).min(received.len());
    let from = &received[at..];
    let shown = from[..from.len().min(SHOWN)].escape_ascii();
    let more = if from.len() > SHOWN { "..." } else { "" };
    let place = offset + at as u64;
    let what = match (from.first(), expected.get(at)) {
        (Some(received), Some(expected)) => {
            format!("byte {place} is 0x{received:02x} instead of 0x{expected:02x}")
        }
        _ => format!("{} more than were sent, after {place}", bytes(from.len())),
    };
    let guess = guess(place, &expected[at..], from).map_or(String::new(), |guess| format!("; {guess}"));
    format!("{what}: `{shown}{more}`{guess}")
}

fn bytes(count: usize) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}

/// What sends such bytes, where it is plain.
fn guess(place: u64, expected: &[u8], received: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 7] = [
        (b"HTTP/", "this is an HTTP server"),
        (b"<!DOCTYPE", "this is an HTTP server"),
        (b"SSH-", "this is an SSH server"),
        (b"-ERR", "this is a Redis server"),
        (b"\x15\x03", "this is a TLS server"),
        (b"\xff\xfb", "this is a telnet server"),
        (b"\xff\xfd", "this is a telnet server"),
    ];
    let known = known.iter().find(|(start, _)| received.starts_with(start));
    if let Some((_, guess)) = known {
        return Some(guess);
    }
    let common = expected.len().min(received.len());
    let (expected, same_length) = (&expected[..common], &received[..common]);
    // One letter in upper case is chance.
    let changed = { expected.iter().zip(same_length) }
        .filter(|(one, other)| one != other)
        .count();
    if changed > 1 && expected.to_ascii_uppercase() == same_length {
        return Some("the server changes letters to upper case");
    }
    if expected.first() == Some(&b'\n') && received.starts_with(b"\r\n") {
        return Some("the server puts CR before LF");
    }
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if place == 0 && received.len() > 3 && received.iter().all(is_text) {
        return Some("the server sends a text of its own first, such as a greeting");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] = b"\x9fab\x01\n\xc3xyz";

    #[test]
    fn the_first_wrong_byte_is_named_with_what_follows() {
        let text = describe(100, SENT, b"\x9fabQ\n\xc3xyz");
        assert_eq!(text, r"byte 103 is 0x51 instead of 0x01: `Q\n\xc3xyz`");
        let long = describe(0, &[0; 40], &[1; 40]);
        assert!(long.ends_with(r"\x01...`"), "{long}");
    }

    #[test]
    fn bytes_beyond_what_was_sent_are_counted() {
        let text = describe(7, b"ab", b"ab\x00");
        assert_eq!(text, r"1 byte more than were sent, after 9: `\x00`");
        assert!(describe(0, b"", b"xy").starts_with("2 bytes more than were sent, after 0"));
    }

    #[test]
    fn a_foreign_protocol_is_named() {
        let guessed = |received: &[u8]| describe(0, &[0xa7; 64], received);
        for (received, guess) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "an HTTP server"),
            (b"\x15\x03\x01\x00\x02\x02\x46", "a TLS server"),
            (b"\xff\xfd\x18\xff\xfd\x20", "a telnet server"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server"),
            (b"220 welcome\r\n", "a greeting"),
        ] {
            let text = guessed(received);
            assert!(text.contains(guess), "{text}");
        }
        assert!(!guessed(b"\x00\x01\x02\x03").contains(';'));
    }

    #[test]
    fn letters_and_line_ends_that_a_server_changes_are_named() {
        let text = describe(0, SENT, b"\x9fAB\x01\n\xc3XYZ");
        assert!(text.contains("upper case"), "{text}");
        let text = describe(0, SENT, b"\x9fab\x01\r\n\xc3xy");
        assert!(text.contains("CR before LF"), "{text}");
    }
}
