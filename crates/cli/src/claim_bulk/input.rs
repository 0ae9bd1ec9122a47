//! The input, line by line, with its digest so far; one process at a time.

use super::journal::Done;
use crate::fault::{Fault, Outcome};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Stdin};
use std::path::{Path, PathBuf};

/// Bytes of one line; a token and twenty tags have 3 kB.
const LINE_BYTES_MAX: usize = 16 * 1024;

pub(super) struct Input {
    path: PathBuf,
    reader: Reader,
    digest: Sha256,
    bytes: u64,
    total: Option<u64>,
    line: Vec<u8>,
}

enum Reader {
    File(BufReader<File>),
    Stdin(BufReader<Stdin>),
}

impl Reader {
    fn bytes(&mut self) -> &mut dyn BufRead {
        match self {
            Self::File(reader) => reader,
            Self::Stdin(reader) => reader,
        }
    }
}

impl Input {
    /// Opens it; `-` is stdin.
    pub(super) fn open(path: &Path) -> Outcome<Self> {
        let (reader, total) = if path == Path::new("-") {
            (Reader::Stdin(BufReader::new(std::io::stdin())), None)
        } else {
            let cannot =
                |error| Fault::untried(format!("cannot read `{}`: {error}", path.display()));
            let file = File::open(path).map_err(cannot)?;
            let found = file.metadata().map_err(cannot)?;
            if found.is_dir() {
                return Err(cannot(std::io::ErrorKind::IsADirectory.into()));
            }
            if flock(&file, FlockOperation::NonBlockingLockExclusive)
                == Err(rustix::io::Errno::WOULDBLOCK)
            {
                return Err(Fault::untried(format!(
                    "another process is claiming the devices of `{}`",
                    path.display()
                )));
            }
            let total = found.is_file().then_some(found.len());
            (Reader::File(BufReader::new(file)), total)
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            digest: Sha256::new(),
            bytes: 0,
            total,
            line: Vec::new(),
        })
    }

    /// How long it is, where that is known.
    pub(super) const fn bytes_total(&self) -> Option<u64> {
        self.total
    }

    /// Reads over what is done, and sees that it is what was done.
    pub(super) fn skip(&mut self, done: &Done, journal: &Path) -> Outcome {
        let mut rest = done.bytes;
        while rest > 0 {
            let chunk = self.reader.bytes().fill_buf()?;
            let length = chunk.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            if length == 0 {
                break;
            }
            self.digest.update(&chunk[..length]);
            self.reader.bytes().consume(length);
            rest -= length as u64;
            self.bytes += length as u64;
        }
        if rest > 0 || self.sha256() != done.sha256 {
            return Err(Fault::untried(format!(
                "the first {} bytes of `{}` are not those that were claimed before",
                done.bytes,
                self.path.display()
            ))
            .hint(format!(
                "is it another file under the same name? Then remove `{}` and begin anew",
                journal.display()
            )));
        }
        Ok(())
    }

    /// The next line with its end; `None` at the end. Of a line that is too long the rest is left out.
    pub(super) fn line(&mut self) -> Outcome<Option<&[u8]>> {
        self.line.clear();
        let max = LINE_BYTES_MAX as u64;
        let mut taken = self
            .reader
            .bytes()
            .take(max)
            .read_until(b'\n', &mut self.line)?;
        self.digest.update(&self.line);
        self.bytes += taken as u64;
        while taken == LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
            // The quote that is never closed, a binary file.
            let mut more = Vec::new();
            taken = self.reader.bytes().take(max).read_until(b'\n', &mut more)?;
            self.digest.update(&more);
            self.bytes += taken as u64;
            if more.last() == Some(&b'\n') {
                break;
            }
        }
        Ok((!self.line.is_empty()).then_some(&self.line))
    }

    /// Notes how far it was read.
    pub(super) fn note(&self, done: &mut Done) {
        done.bytes = self.bytes;
        done.sha256 = self.sha256();
    }

    fn sha256(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }
}
