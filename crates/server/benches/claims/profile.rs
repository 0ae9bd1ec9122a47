//! Where the instructions of an owner's write go: the service under callgrind, counted from the first write to the last.

use super::owner::{Door, Writes};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// First argument of this program when it is the service.
pub(super) const SERVE: &str = "serve";
/// Writes under callgrind, some of them to warm up.
const WRITES: usize = 400;
const COSTS: usize = 3;

/// Is the service until stdin ends.
pub(super) fn serve(home: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let service = super::start(home).await;
        println!("listening");
        let asked = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
        });
        asked.await.unwrap();
        service.shutdown().await;
    });
}

/// The functions that cost most, in words; or why there are none.
pub(super) async fn of_writes(home: &Path, writes: Writes) -> Vec<String> {
    let found = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return vec!["no profile: valgrind is not installed".to_owned()];
    }
    let out = home.join("callgrind.out");
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--instr-atstart=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .arg(SERVE)
        .arg(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        if said.read_line(&mut line).unwrap() == 0 {
            let _ = child.wait();
            return vec!["no profile: the service does not start under valgrind".to_owned()];
        }
    }
    let writes = writes.at(Door::of(home));
    writes.so_many(WRITES / 8).await;
    instrument(&child, "on");
    writes.so_many(WRITES).await;
    instrument(&child, "off");
    let _ = child.stdin.take().unwrap().write_all(b"end\n");
    let _ = child.wait();
    annotated(&out)
}

fn instrument(child: &Child, switch: &str) {
    let done = Command::new("callgrind_control")
        .arg(format!("--instr={switch}"))
        .arg(child.id().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(done.is_ok_and(|status| status.success()));
}

/// callgrind_annotate's list of functions: `1,234 (12.34%)  file:function [object]`.
fn annotated(out: &Path) -> Vec<String> {
    let listed = Command::new("callgrind_annotate")
        .arg(out)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut lines = vec![format!(
        "its first {COSTS} costs, of {} instructions a write:",
        per_write(&text)
    )];
    let functions = text
        .lines()
        .skip_while(|line| !line.contains("file:function"))
        .filter_map(|line| {
            let (count, rest) = line.trim().split_once(" (")?;
            let (share, function) = rest.split_once("%)")?;
            count
                .starts_with(|c: char| c.is_ascii_digit())
                .then_some(())?;
            let function = function.split(" [").next().unwrap_or(function).trim();
            let function = function.split_once(':').map_or(function, |(_, name)| name);
            Some(format!("  {:>5} %  {function}", share.trim()))
        });
    lines.extend(functions.take(COSTS));
    lines
}

fn per_write(text: &str) -> u64 {
    let total = text.lines().find(|line| line.contains("PROGRAM TOTALS"));
    let digits: String = total
        .unwrap_or_default()
        .chars()
        .take_while(|c| !c.is_alphabetic() && *c != '(')
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse::<u64>().unwrap_or(0) / WRITES as u64
}
