//! The contract, run against each backend.
#![allow(clippy::unwrap_used)]

mod conformance;
mod fixtures;

use conformance::{Database, conformance_of};
use sectag_store::Store;
use std::sync::Arc;

/// A SQLite file in a directory of its own.
struct SqliteFile(tempfile::TempDir);

impl SqliteFile {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Database for SqliteFile {
    fn open(&self) -> Arc<dyn Store> {
        fixtures::shared(self.0.path())
    }
}

conformance_of!(sqlite, super::SqliteFile::new);
