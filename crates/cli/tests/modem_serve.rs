//! `sectag modem serve` from the outside: where it listens, how it ends, what it leaves behind.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use support::{DEADLINE, Home, sectag};

/// A served modem, reached over TCP.
struct Served {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    line: BufReader<TcpStream>,
    first: Value,
}

impl Served {
    fn new(home: &Home, options: &[&str]) -> Self {
        Self::with(home, options, &[])
    }

    fn with(home: &Home, options: &[&str], envs: &[(&str, &str)]) -> Self {
        let mut child = sectag(&home.path())
            .envs(envs.iter().copied())
            .args(["modem", "serve", "--tcp", "127.0.0.1:0", "--json"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let first = value(&mut stdout);
        let stream = TcpStream::connect(first["tcp"].as_str().unwrap()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self {
            child,
            stdout,
            line: BufReader::new(stream),
            first,
        }
    }

    /// The answer's lines, up to the final result.
    fn ask(&mut self, at: &str) -> Vec<String> {
        self.say(at);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.line.read_line(&mut line).unwrap(), 0, "{lines:?}");
            lines.push(line.trim_end().to_owned());
            if line.starts_with("OK") || line.contains("ERROR") {
                return lines;
            }
        }
    }

    fn say(&mut self, at: &str) {
        self.line
            .get_mut()
            .write_all(format!("{at}\r").as_bytes())
            .unwrap();
    }

    fn terminate(&self) {
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()])
            .status();
        assert!(asked.unwrap().success());
    }

    /// Exit code, last JSON value, talk.
    fn end(mut self) -> (Option<i32>, Value, String) {
        let last = value(&mut self.stdout);
        let code = self.child.wait().unwrap().code();
        let mut talk = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut talk)
            .unwrap();
        (code, last, talk)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next JSON value: values are printed on several lines and end at a brace in the first column.
fn value(stdout: &mut impl std::io::BufRead) -> Value {
    let mut text = String::new();
    while !text.ends_with("\n}\n") {
        assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text:?}");
    }
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_served_modem_ends_on_sigterm_and_leaves_its_state_and_no_link() {
    let home = Home::new();
    let link = home.beside("modem");
    let state = home.beside("state");
    let options = [
        "--pty",
        "--link",
        link.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
    ];
    let mut modem = Served::new(&home, &options);
    assert_eq!(modem.first["link"], link.to_str().unwrap());
    assert_eq!(
        std::fs::read_link(&link).unwrap().to_str(),
        modem.first["pty"].as_str()
    );
    assert_eq!(modem.ask("AT%CMNG=0,7,4,\"me\""), ["OK"]);
    assert_eq!(modem.ask("AT%DEVICEUUID").len(), 2);
    let looked = home
        .sectag(&["modem", "status", "--state", options[4], "--json"])
        .expect_code(0)
        .json();
    assert_eq!(looked["flashWrites"], 1);
    assert_eq!(looked["id"], modem.first["id"]);
    assert_eq!(looked["entries"][0]["secTag"], 7);
    modem.terminate();
    let (code, last, _) = modem.end();
    assert_eq!(code, Some(0));
    assert_eq!(last["ended"], "shutdown");
    assert_eq!(last["flashWrites"], 1);
    assert!(std::fs::symlink_metadata(&link).is_err());

    let mut again = Served::new(&home, &options);
    assert_eq!(again.first["id"], looked["id"]);
    assert_eq!(again.ask("AT%CMNG=1,7").len(), 2);
    let talk = home
        .sectag(&["modem", "serve", "--state", options[4]])
        .expect_code(2)
        .stderr;
    assert!(talk.contains("locked by process"), "{talk}");
}

#[test]
fn an_injected_power_cut_ends_the_process_with_a_code_of_its_own() {
    let home = Home::new();
    let state = home.beside("state");
    let at = state.to_str().unwrap();
    for (when, left) in [("cut-before", 1), ("cut-after", 2)] {
        let _ = std::fs::remove_dir_all(&state);
        let mut modem = Served::new(
            &home,
            &["--state", at, "--fault", &format!("write#2:{when}")],
        );
        assert_eq!(modem.ask("AT%CMNG=0,1,4,\"one\""), ["OK"]);
        modem.say("AT%CMNG=0,2,4,\"two\"");
        let (code, last, talk) = modem.end();
        assert_eq!(code, Some(3), "{talk}");
        assert_eq!(last["ended"], "power-cut");
        assert_eq!(last["flashWritesHere"], left);
        let looked = home
            .sectag(&["modem", "status", "--state", at, "--json"])
            .expect_code(0)
            .json();
        assert_eq!(looked["entries"].as_array().unwrap().len(), left);
    }
}

#[test]
fn a_process_killed_at_a_write_of_its_state_leaves_the_old_or_the_new_one() {
    let home = Home::new();
    let state = home.beside("state");
    let at = state.to_str().unwrap();
    // The first pass writes the new device.
    for (point, left) in [
        ("keep.file.before-rename:3", 1),
        ("keep.file.after-rename:3", 2),
    ] {
        let _ = std::fs::remove_dir_all(&state);
        let mut modem = Served::with(&home, &["--state", at], &[("SECTAG_CRASH_AT", point)]);
        assert_eq!(modem.ask("AT%CMNG=0,1,4,\"one\""), ["OK"]);
        modem.say("AT%CMNG=0,2,4,\"two\"");
        assert_eq!(modem.child.wait().unwrap().code(), None, "{point}");
        let mut modem = Served::new(&home, &["--state", at, "--quirk", "lists-own-tags=off"]);
        assert_eq!(modem.ask("AT%CMNG=1").len(), left + 1, "{point}");
        assert!(modem.ask("AT%CMNG=2,1,4")[0].ends_with("\"one\""));
    }
}

#[test]
fn quirks_faults_and_time_are_chosen_by_flags() {
    let home = Home::new();
    let mut modem = Served::new(
        &home,
        &[
            "--quirk",
            "storage-entries=1",
            "--quirk",
            "checks-certificates=off",
            "--fault",
            "AT+CGMR#2:60",
            "--online",
            "--no-time",
        ],
    );
    assert_eq!(modem.ask("AT+CFUN?"), ["+CFUN: 1", "OK"]);
    assert_eq!(modem.ask("AT%CCLK?"), ["ERROR"]);
    modem.ask("AT+CFUN=4");
    modem.ask("AT+CMEE=1");
    assert_eq!(modem.ask("AT%CMNG=0,1,0,\"any\""), ["OK"]);
    assert_eq!(modem.ask("AT%CMNG=0,2,0,\"any\""), ["+CME ERROR: 515"]);
    assert_eq!(modem.ask("AT+CGMR").len(), 2);
    assert_eq!(modem.ask("AT+CGMR"), ["+CME ERROR: 60"]);
    assert_eq!(modem.ask("AT#SECTAGSIGN=1"), ["ERROR"]);
}

#[test]
fn an_identity_comes_from_a_file_or_a_seed_and_stays() {
    let home = Home::new();
    let file = home.beside("identity.json");
    let uuid = "50363154-3931-44f0-8022-121b6401627d";
    std::fs::write(
        &file,
        format!(r#"{{"device":"{uuid}","imei":"350000000000006"}}"#),
    )
    .unwrap();
    let (file, state) = (file.to_str().unwrap().to_owned(), home.beside("state"));
    let state = state.to_str().unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&file, open_to_all).unwrap();
    let talk = home
        .sectag(&["modem", "serve", "--identity", &file])
        .expect_code(2)
        .stderr;
    assert!(talk.contains("chmod 600"), "{talk}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    let mut modem = Served::new(&home, &["--identity", &file, "--state", state]);
    assert_eq!(
        modem.ask("AT%DEVICEUUID"),
        [format!("%DEVICEUUID: {uuid}"), "OK".to_owned()]
    );
    assert_eq!(modem.ask("AT+CGSN"), ["350000000000006", "OK"]);
    drop(modem);
    // What the file leaves open was drawn once and stays.
    drop(Served::new(&home, &["--identity", &file, "--state", state]));
    let talk = home
        .sectag(&["modem", "serve", "--seed", "5", "--state", state])
        .expect_code(2)
        .stderr;
    assert!(
        talk.contains(&format!("whose UUID is {uuid}, not ")),
        "{talk}"
    );
    assert!(talk.contains("hint: "), "{talk}");
}

#[test]
fn mistakes_are_answered_with_what_to_type() {
    let home = Home::new();
    for (args, words) in [
        (
            &["--quirk", "keygen_overwrite=on"][..],
            "did you mean `keygen-overwrites`?",
        ),
        (&["--quirk", "boot-mode"], "NAME=VALUE"),
        (&["--quirk", "boot-mode=on"], "takes 0 or another mode"),
        (&["--fault", "AT%CMNG:515"], "AT-PREFIX#K:error"),
        (
            &["--tcp", "0.0.0.0:0", "--seed", "1"],
            "--dangerously-listen-beyond-loopback",
        ),
        (&["--tcp", "5555"], "like 127.0.0.1:"),
        (&["--terminator", "return"], "nul, cr, lf or crlf"),
        (&["--seed", "1", "--name", "x"], "cannot be used with"),
        (&["--identity", "/nowhere"], "there is no file `/nowhere`"),
        (
            &["--seed", "1", "--link", "/dev/null"],
            "choose another path",
        ),
    ] {
        let output = home.sectag(&[&["modem", "serve"], args].concat());
        let output = output.expect_code(2);
        assert!(output.stderr.contains(words), "{args:?}: {}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    let talk = home.sectag(&["modem", "status"]).expect_code(2).stderr;
    assert!(talk.contains("there is no virtual modem in"), "{talk}");
}
