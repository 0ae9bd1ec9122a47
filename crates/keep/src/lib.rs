//! Files that must not be lost, seen, or half-written.
//!
//! ```text
//!  write_private / write_public     temp file → fsync → rename → fsync directory
//!  append_private                   one write at the end, for pieces that can be lost
//!  write_pair                       both temp files → mark "ready" → rename key → rename certificate → unmark
//!  load_pair                        ready? finish the renames : throw unfinished files away; then read both
//!  promote_pair                     a checked `.new` pair takes the place of the old one, owner and mode kept
//!  edit                             lock directory → read → change → temp file as it was set up → fsync → rename → fsync directory
//!  place                            as write, with the mode and owner that its reader needs
//!  look                             modes and owners at a path and on the way to it
//!  lock                             one process at a time; the lock file names the holder
//! ```
//!
//! Whoever reads a file written here sees the old content or the new content, also after a power cut. Files for
//! our eyes only have mode 0600 before the first byte is in them, and are refused on reading when someone widened them.
//! Writers in one directory take turns (an advisory lock on the directory itself), so a fixed temporary name per
//! file is enough and a crash leaves at most one of them, which the next write replaces.
//!
//! It does not know what is in the files, and it does not retry. Content that leaves as a secret is zeroized on drop.

pub mod crash;
mod edit;
mod error;
mod lock;
mod look;
mod pair;
mod place;
mod write;

#[cfg(test)]
mod stop;

pub use edit::{edit, is_dir, is_readable_by_others};
pub use error::KeepError;
pub use lock::{Lock, lock};
pub use look::{End, Look, Node, content, look, names};
pub use pair::{Previous, Secret, load_pair, new_beside, promote_pair, replace_pair, write_pair};
pub use place::place;
pub use write::{
    FILE_BYTES_MAX, append_private, private_dir, read_private, read_public, remove, write_private,
    write_public,
};
