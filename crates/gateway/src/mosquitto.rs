//! mosquitto's configuration: read as the broker reads it, written so that it cannot be misread, and judged.
//!
//! ```text
//!   mosquitto.conf, include_dir … ──► read ──► Effective ──► listeners, their levels, problems with file:line
//!   Settings + Resolved ──► render ──► Rendered (one file) ──► within: the same file among the broker's others
//!   a file written by hand ──► judge ──► what is wrong, why, the corrected block
//! ```
//!
//! 2.0 and 2.1 differ (spec/gateway-config §14), so everything takes a [`BrokerVersion`]. Files are reached through
//! [`Files`]; nothing here opens one.

mod directive;
mod effective;
mod files;
mod judge;
mod parse;
mod render;
mod version;
mod within;

pub use directive::{Duplicate, Kind, Scope, Word, word, words};
pub use effective::{At, Directive, Effective, Listener, Origin, Problem, ProblemKind};
pub use files::{Files, Overlay, Unread};
pub use judge::{Judged, Judgement, Known, Role, judge};
pub use parse::{FILE_BYTES_MAX, FILES_MAX, parse, read};
pub use render::{Authorities, Extras, Paths, Rendered, Resolved, render};
pub use version::{BrokerVersion, NoVersion};
pub use within::{Placed, remove_include, with_include, within};
