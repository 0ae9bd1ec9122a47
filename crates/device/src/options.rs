//! What a device may be told: one table of every option, and the values in effect with where each came from.
//!
//! ```text
//!   our defaults, or --faithful ◄── device.toml ◄── --kconfig prj.conf … ◄── -o key=value ◄── --host, --port, …
//! ```
//!
//! The later one wins. A key that does not exist is an error with a suggestion, because a setting that is present
//! either takes effect or stops the command.

mod table;
mod value;

pub use table::{Here, Known, OPTIONS, keyed, known};
pub use value::{Kind, Value, ValueError};
