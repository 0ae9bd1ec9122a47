//! The guide is run as it is printed.

use super::desk::{As, Desk, have_mosquitto};
use std::path::Path;
use std::time::{Duration, Instant};

const GUIDE: &str = include_str!("../../../../docs/guides/gateway.md");

/// Blocks of this kind, in order.
fn blocks(kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let parts = GUIDE.split(&fence).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect()
}

/// Runs blocks in one shell, on a fresh gateway whose ports are free ones. The environment is over the file, so the blocks need
/// not say so.
fn run(desk: &Desk, blocks: &[String]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_sectag"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let script = format!("set -eux\n{}", blocks.concat());
    let output = desk
        .command("sh")
        .args(["-c", &script])
        .env("PATH", path)
        .env("TEDGE_MQTT_BIND_PORT", desk.internal.to_string())
        .env("TEDGE_MQTT_EXTERNAL_BIND_PORT", desk.external.to_string())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}\n{}", desk.log());
    said
}

#[test]
fn the_steps_of_the_guide_lead_to_proved_mutual_tls() {
    if !have_mosquitto() {
        return;
    }
    let all = blocks("sh");
    let text = all.concat();
    assert_eq!(
        text.matches("cert issue").count() - text.matches("client lost").count(),
        2
    );
    assert!(text.matches("config set").count() <= 5);
    let desk = Desk::new(As::Mosquitto);
    let begin = Instant::now();
    let said = run(&desk, &all);
    // Seconds here; the promise is a minute.
    assert!(begin.elapsed() < Duration::from_secs(60));
    for proof in [
        "ok   no-certificate",
        "ok   foreign-ca",
        "ok   good-certificate",
        "reload the broker",
        "removed",
    ] {
        assert!(said.contains(proof), "`{proof}` is missing: {said}");
    }
}

#[test]
fn the_one_command_of_the_guide_does_the_same() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::new(As::Mosquitto);
    let said = run(&desk, &blocks("sh init"));
    assert!(
        said.contains("ok   good-certificate") && said.contains("`gw-1`"),
        "{said}"
    );
}
