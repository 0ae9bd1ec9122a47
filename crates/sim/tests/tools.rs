//! Each script in `tools/` says what it does, and does nothing that it was not asked for.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn run(tool: &std::path::Path, word: &str) -> Output {
    Command::new(tool).arg(word).output().unwrap()
}

#[test]
fn each_tool_answers_help_and_refuses_what_it_does_not_know() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools");
    let tools = std::fs::read_dir(folder).unwrap();
    let tools = tools.map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for tool in tools.filter(|path| path.is_file()) {
        let help = run(&tool, "--help");
        assert!(help.status.success(), "{tool:?}");
        assert!(help.stdout.iter().filter(|byte| **byte == b'\n').count() > 1);
        let refused = run(&tool, "--no-such-flag");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), said.lines().count()), (Some(2), 1));
        assert!(said.contains("`--no-such-flag`"), "{said}");
        assert!(refused.stdout.is_empty(), "{tool:?}");
        seen += 1;
    }
    assert!(seen >= 4, "{folder}");
}
