//! What a server prints: the ready line on standard output, and its log on standard error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// How much of a server's standard error goes into a report.
const STDERR_KEPT: u64 = 4096;

/// The end of a server's standard error.
pub fn stderr_tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(STDERR_KEPT)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// Reads lines on another thread, as reading from a pipe has no time-out. Ends with the server.
pub(super) fn read_lines(output: Option<ChildStdout>) -> io::Result<Receiver<String>> {
    let (lines, received) = channel();
    if let Some(output) = output {
        thread::Builder::new().spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        })?;
    }
    Ok(received)
}

/// The address in the line `ready ADDRESS`.
pub(super) fn ready_address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("ready ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_ready_line_has_an_address_and_nothing_else() {
        assert_eq!(
            ready_address("ready 127.0.0.1:7007"),
            "127.0.0.1:7007".parse().ok()
        );
        for wrong in [
            "",
            "ready",
            "ready ",
            "ready 7007",
            "Ready 127.0.0.1:1",
            "ready 127.0.0.1:1 now",
        ] {
            assert_eq!(ready_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_end_of_a_long_log_is_kept() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        log.write_all(&[b'a'; 5000]).unwrap();
        log.write_all(b"the end").unwrap();
        let tail = stderr_tail(log.path());
        assert_eq!(tail.len() as u64, STDERR_KEPT);
        assert!(tail.ends_with("athe end"));
        assert_eq!(stderr_tail(Path::new("/no/such/file")), "");
    }
}
