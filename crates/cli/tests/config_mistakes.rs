//! What is printed to be typed works when it is typed, and what is quoted does no harm.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A shell with the program in its path, and a configuration that is named by an option only.
struct Shell(tempfile::TempDir);

impl Shell {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("my config/tedge.toml")
    }

    fn types(&self, line: &str) -> Output {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_sectag"));
        Command::new("sh")
            .args(["-c", line])
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", program.parent().unwrap().display()),
            )
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// `sectag … config` for the configuration.
    fn config(&self, words: &str) -> Output {
        self.types(&format!("sectag --config-dir 'my config' config {words}"))
    }

    /// The alternatives of the fixes that `config check` prints and that have nothing to fill in.
    fn fixes(&self) -> Vec<String> {
        let said = text(&self.config("check").stderr);
        let fixes = said.lines().filter_map(|line| line.strip_prefix("  fix: "));
        let commands = fixes.flat_map(|fix| fix.split("    or    "));
        let complete = commands.filter(|command| !command.contains('<'));
        complete.map(str::to_owned).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn several_keys_are_unset_at_once_or_not_at_all() {
    let shell = Shell::new();
    assert!(
        shell
            .config("set http.cert_path /a http.key_path /b http.ca_path /c")
            .status
            .success()
    );
    let before = fs::read_to_string(shell.file()).unwrap();
    let refused = shell.config("unset http.cert_path http.nokey");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(fs::read_to_string(shell.file()).unwrap(), before);
    let done = shell.config("unset http.cert_path http.key_path http.ca_path");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(shell.config("get http.key_path").status.code(), Some(1));
}

#[test]
fn each_printed_fix_reaches_the_configuration_that_it_is_about() {
    for settings in [
        "set mqtt.client.auth.cert_file /a mqtt.client.auth.key_file /b mqtt.client.server_name gw",
        "set mqtt.client.auth.ca_file /a mqtt.client.auth.ca_dir /b",
        "set mqtt.external.cert_file /a http.key_path /b",
        "set mqtt.external.ca_path /a",
        "set mqtt.bind.enabled false",
        "set mqtt.client.port 8883",
        "set mqtt.external.bind.address 0.0.0.0 mqtt.bind.port 8883",
        "set mqtt.client.auth.password_file /a",
    ] {
        let shell = Shell::new();
        assert!(shell.config(settings).status.success(), "{settings}");
        let before = fs::read_to_string(shell.file()).unwrap();
        let fixes = shell.fixes();
        let of_config: Vec<_> = fixes
            .iter()
            .filter(|fix| fix.contains(" config ") && !fix.contains("cert issue"))
            .collect();
        assert!(!of_config.is_empty(), "{settings}");
        for fix in of_config {
            let typed = shell.types(fix);
            assert!(typed.status.success(), "{settings}: {fix}: {typed:?}");
            assert_ne!(fs::read_to_string(shell.file()).unwrap(), before, "{fix}");
            let left = shell.fixes();
            assert!(!left.contains(fix), "{settings}: {fix} changed nothing");
            fs::write(shell.file(), &before).unwrap();
        }
    }
}

#[test]
fn a_printed_certificate_is_made_where_it_is_missing_and_used() {
    for (server, client) in [("broker.crt", "me.crt"), ("tls.pem", "other.pem")] {
        let shell = Shell::new();
        fs::create_dir(shell.0.path().join("certs")).unwrap();
        let home = |words: &str| {
            let line = format!("sectag --home home --config-dir 'my config' {words}");
            let done = shell.types(&line);
            assert!(done.status.success(), "{line}: {done:?}");
        };
        home("ca init");
        home(&format!(
            "config set mqtt.external.cert_file certs/{server} mqtt.external.key_file certs/broker.key"
        ));
        home(&format!(
            "config set mqtt.client.auth.cert_file certs/{client} mqtt.client.auth.key_file certs/me.key \
             mqtt.client.auth.ca_file home/ca/root.crt"
        ));
        for finding in ["mqtt.external", "mqtt.client"] {
            let check = "sectag --home home --config-dir 'my config' config check";
            let said = text(&shell.types(check).stderr);
            let lines: Vec<&str> = said.lines().collect();
            let at = lines.iter().position(|line| {
                line.starts_with("error E13") && line.contains(&format!("({finding}"))
            });
            let fix = lines[at.unwrap_or_else(|| panic!("{said}")) + 1];
            let (_, issue) = fix.split_once("    or    ").unwrap();
            let issue = issue.replace("<name>", "me");
            let typed = shell.types(&issue);
            assert!(typed.status.success(), "{issue}: {typed:?}");
            let said = text(&shell.types(check).stderr);
            assert!(!said.contains(&format!("({finding}")), "{issue}: {said}");
        }
    }
}

#[test]
fn a_line_that_is_not_understood_is_not_repeated() {
    let shell = Shell::new();
    fs::write(
        shell.0.path().join("lines"),
        "mqtt.bind.port=1\nproxy.password hunter2\n",
    )
    .unwrap();
    let said = shell.config("set --from lines");
    assert_eq!(said.status.code(), Some(2));
    let said = text(&said.stderr);
    assert!(
        said.contains("line 2 is not KEY=VALUE") && !said.contains("hunter2"),
        "{said}"
    );
    assert!(!shell.file().exists());
}

#[test]
fn an_answer_that_could_not_be_written_is_a_failure() {
    let shell = Shell::new();
    let said = shell.config("get mqtt.bind.port > /dev/full");
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(text(&said.stderr).contains("cannot write the answer"));
    assert!(shell.config("list | head -c 1").status.success());
}

#[test]
fn what_is_quoted_does_not_steer_the_terminal() {
    let shell = Shell::new();
    let said = shell.config("get \"$(printf 'x\\033[2Jy')\"");
    assert_eq!(said.status.code(), Some(2));
    let said = text(&said.stderr);
    assert!(said.contains("\\u{1b}[2J"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}
