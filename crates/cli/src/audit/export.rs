//! `sectag audit export`: page by page, so that memory does not grow with the trail.

use crate::client::Owner;
use crate::fault::{Fault, Outcome};
use crate::output;
use sectag_store::audit::Line;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Entries asked for at once: some hundred kilobytes.
const EXPORT_ENTRIES: usize = 2000;

pub(super) async fn export(owner: &Owner, out: Option<&Path>) -> Outcome {
    let unwritten = |path: &Path, error: std::io::Error| {
        Fault::untried(format!("cannot write `{}`: {error}", path.display()))
    };
    let mut file = match out {
        Some(path) => Some(Beside::of(path).map_err(|e| unwritten(path, e))?),
        None => None,
    };
    let (mut after, mut done) = (0, false);
    while !done {
        let path = format!("/v1/audit/export?after={after}&limit={EXPORT_ENTRIES}");
        let page = owner.get_text(&path).await?;
        let text = std::str::from_utf8(&page)
            .map_err(|_| Fault::untried("the service's export is not text"))?;
        let before = after;
        let mut kept = String::with_capacity(text.len());
        for line in text.lines() {
            let read = Line::parse(line).map_err(|e| {
                Fault::untried(format!("the service's export has a line that is {e}"))
            })?;
            match read {
                Line::Header(_) if before > 0 => continue,
                Line::Entry(entry) => after = entry.number,
                Line::End(_) => done = true,
                Line::Header(_) | Line::Checkpoint(_) => {}
            }
            kept.push_str(line);
            kept.push('\n');
        }
        match (&mut file, out) {
            (Some(Beside { file, .. }), Some(path)) => file
                .write_all(kept.as_bytes())
                .map_err(|e| unwritten(path, e))?,
            _ => output::print(&kept),
        }
        if !done && after == before {
            return Err(Fault::untried(format!(
                "the service's export stands still at entry {after}"
            )));
        }
    }
    if let (Some(file), Some(path)) = (file, out) {
        file.finish().map_err(|e| unwritten(path, e))?;
        eprintln!("{after} entries written to {}", path.display());
    }
    Ok(())
}

/// A file that takes its name when it is whole; what had the name stays until then, and for good if that never is.
struct Beside {
    file: File,
    /// The name that it has, and the one that it takes; none for a pipe or a terminal, which is written to at once.
    names: Option<(PathBuf, PathBuf)>,
}

impl Beside {
    fn of(path: &Path) -> std::io::Result<Self> {
        // What a link leads to is replaced, not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let there = path.metadata().ok();
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(&path)?;
            return Ok(Self { file, names: None });
        }
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let file = File::create(&part)?;
        let names = Some((part.into(), path));
        let file = Self { file, names };
        if let Some(there) = there {
            file.file.set_permissions(there.permissions())?;
        }
        Ok(file)
    }

    fn finish(mut self) -> std::io::Result<()> {
        if let Some((part, path)) = &self.names {
            self.file.sync_all()?;
            std::fs::rename(part, path)?;
        }
        self.names = None;
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.names {
            let _ = std::fs::remove_file(part); // it says nothing that the next export does not say
        }
    }
}
