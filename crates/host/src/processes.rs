//! Processes of this machine, as `/proc` shows them: the broker, and services that may run with older settings.

use std::fs;
use std::path::{Path, PathBuf};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its short name; the kernel keeps 15 characters.
    pub name: String,
    /// Its command line.
    pub arguments: Vec<String>,
    /// Who it runs as.
    pub uid: u32,
    /// When it started, Unix seconds; to the second, and as right as the clock was at boot.
    pub started_s: u64,
}

/// Looks at one process; `None` when it is not there, or not for us.
pub fn process(pid: u32) -> Option<Process> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    if field("State:")? == "Z" {
        return None; // it ended, and nobody asked how
    }
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name in parentheses may hold anything; field 22 is the start in ticks since boot.
    let ticks: u64 = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()?;
    let command = fs::read(folder.join("cmdline")).ok()?;
    let arguments = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    Some(Process {
        pid,
        name: field("Name:")?,
        uid: field("Uid:")?.parse().ok()?,
        started_s: boot_s()? + ticks / TICKS_PER_SECOND,
        arguments: arguments
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect(),
    })
}

/// All that can be seen.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut all: Vec<Process> = pids.filter_map(process).collect();
    all.sort_by_key(|process| process.pid);
    all
}

/// The mosquitto that reads `main`; the newest, should there be several.
pub fn broker(main: &Path) -> Option<Process> {
    let reads = |process: &Process| {
        process.name == "mosquitto"
            && process.arguments.windows(2).any(|pair| {
                matches!(pair[0].as_str(), "-c" | "--config-file") && Path::new(&pair[1]) == main
            })
    };
    processes()
        .into_iter()
        .filter(reads)
        .max_by_key(|process| (process.started_s, process.pid))
}

/// Linux tells user space 100, whatever its own is (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

fn boot_s() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_with_owner_and_start() {
        let own = process(std::process::id()).unwrap();
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        assert!(
            own.started_s <= now + 1 && own.started_s + 86_400 > now,
            "{own:?}"
        );
        assert!(processes().iter().any(|process| process.pid == own.pid));
        assert_eq!(process(0), None);
    }
}
