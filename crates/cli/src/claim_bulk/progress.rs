//! How far it is: a bar on a terminal, a line now and then elsewhere.

use super::journal::Done;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;

/// Rows between two lines where there is no terminal.
const ROWS_PER_LINE: u64 = 10_000;

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    shown: u64,
    rows: u64,
}

impl Progress {
    pub(super) fn new(bytes_total: Option<u64>, done: Done) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = match bytes_total {
                Some(_) => "{wide_bar} {percent:>3} %  {msg}, {elapsed}, about {eta} left",
                None => "{spinner} {msg}, {elapsed}",
            };
            let style = ProgressStyle::with_template(style)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(bytes_total, target).with_style(style);
            bar.set_position(done.bytes);
            bar.reset_eta();
            bar
        });
        Self {
            bar,
            shown: done.rows,
            rows: done.rows,
        }
    }

    pub(super) fn show(&mut self, done: Done) {
        self.rows = done.rows;
        let text = format!("{} rows, {} refused", done.rows, done.failed);
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.set_position(done.bytes);
            }
            None if done.rows - self.shown >= ROWS_PER_LINE => {
                self.shown = done.rows;
                eprintln!("{text}");
            }
            None => {}
        }
    }

    /// Rows whose answers are known.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The most memory that this process has had resident, where the system tells.
pub(super) fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
