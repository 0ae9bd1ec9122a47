//! The broker's log, when it is a file: what it said since a moment, and whom it let in.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// The user that the log names beside our client identifier. The broker writes its log line by line, at once.
pub(crate) async fn user_in_log(log: &Path, from: u64, id: &str) -> Option<String> {
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 0..TRIES {
        let text = tail(log, from)?;
        if let Some(user) = user_in(&text, id) {
            return Some(user.to_owned());
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

pub(crate) fn tail(log: &Path, from: u64) -> Option<String> {
    const BYTES_MAX: u64 = 1 << 20;
    let mut file = std::fs::File::open(log).ok()?;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn length(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |found| found.len())
}

/// `… New client connected from 127.0.0.1:35000 as ID (p5, c1, k60, u'NAME').`
fn user_in<'a>(text: &'a str, id: &str) -> Option<&'a str> {
    let line = text
        .lines()
        .find(|line| line.contains("New client connected") && line.contains(id))?;
    let (_, rest) = line.split_once(" u'")?;
    Some(rest.rsplit_once('\'')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_stands_beside_the_client_that_was_let_in() {
        let log = "1: New client connected from ::1:1 as other (p2, c1, k60, u'else').\n\
                   2: New connection from 127.0.0.1:35000 on port 8883.\n\
                   3: New client connected from 127.0.0.1:35000 as probe-1 (p5, c1, k60, u'it's me').\n\
                   4: New client connected from 127.0.0.1:35002 as probe-2 (p5, c1, k60).\n";
        assert_eq!(user_in(log, "probe-1"), Some("it's me"));
        for id in ["probe-2", "probe-3"] {
            assert_eq!(user_in(log, id), None, "{id}");
        }
    }
}
