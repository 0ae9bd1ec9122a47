//! The broker's main file with the line that includes ours.

use std::path::Path;

use super::{FileChange, Include, Inputs, NewContent, unified};
use crate::findings::{Finding, FindingId, Severity};
use crate::mosquitto::{Unread, remove_include, with_include};

/// The broker's main file.
pub(super) struct Main {
    /// As it is.
    old: String,
    /// Without the line of the place that is not used.
    pub(super) without: String,
    /// With the line.
    new: String,
    pub(super) include: Include,
    /// It cannot be changed by us.
    pub(super) finding: Option<Finding>,
}

impl Main {
    /// A file that cannot be read is not an empty one, and one that is not UTF-8 would not come out as it went in.
    pub(super) fn read(inputs: &Inputs<'_>, directory: &Path, other: &Path) -> Self {
        let shown = inputs.main.display();
        let (old, reason) = match inputs.ground.read(inputs.main) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => (text, None),
                Err(e) => {
                    let text = String::from_utf8_lossy(e.as_bytes()).into_owned();
                    (text, Some("it is not UTF-8".to_owned()))
                }
            },
            Err(Unread(reason)) => (String::new(), Some(reason)),
        };
        let without = remove_include(&old, other);
        let (new, number) = with_include(&without, directory);
        let include = Include {
            line: format!("include_dir {}", directory.display()),
            number,
            present: old == new,
        };
        let finding = reason.filter(|_| !include.present).map(|reason| {
            let sentence = format!("the broker's main file {shown} cannot be changed: {reason}");
            Finding::new(FindingId::B3, Severity::Error, sentence)
                .value("main file", shown)
                .fix(&[format!(
                    "write `{}` above the first `include_dir` by hand",
                    include.line
                )])
        });
        Self {
            old,
            without,
            new,
            include,
            finding,
        }
    }

    pub(super) fn change(&self, inputs: &Inputs<'_>) -> Option<FileChange> {
        (!self.include.present).then(|| FileChange {
            path: inputs.main.to_owned(),
            old: Some(self.old.clone()),
            new: NewContent::Text(self.new.clone()),
            diff: unified(inputs.main, &self.old, &self.new),
            mode: None,
            owner: None,
            why: "the broker reads our file before its own directories".to_owned(),
        })
    }
}
