//! Kill −9 at every numbered point of `gateway apply` and of its way back, at every pass of it.
//!
//! ```text
//!   served: plaintext ─► apply mutual … ✂ … ─► apply again: says so, goes back or finishes ─► mutual, proved
//! ```
//! Between the cut and the next run the broker may have been told or not; either way it serves one of the two states as a whole.
#![allow(clippy::unwrap_used)]

#[path = "gateway_apply/desk.rs"]
mod desk;

use desk::{As, Desk, Done, have_mosquitto};
use sectag_keep::crash::POINTS;

/// Fails when somebody adds a step that never ends.
const PASSES_MAX: u32 = 40;

fn points(prefix: &str) -> impl Iterator<Item = &'static str> {
    let names = POINTS.iter().map(|(name, _)| *name);
    names.filter(move |name| name.starts_with(prefix))
}

/// A desk that serves plaintext and wants mutual TLS.
fn about_to_be_mutual() -> Desk {
    let desk = Desk::ready(As::Mosquitto);
    desk.ok(&["gateway", "apply"]);
    desk.ok(&[
        "gateway",
        "init",
        "--level",
        "mutual",
        "--name",
        "gw-1",
        "--dry-run",
    ]);
    desk
}

fn killed_at(desk: &Desk, point: &str, pass: u32, verb: &str) -> Option<Done> {
    let armed = format!("{point}:{pass}");
    let done = desk.sectag_with(&["gateway", verb], &[("SECTAG_CRASH_AT", &armed)]);
    done.code.is_none().then_some(done)
}

#[test]
fn an_apply_that_is_killed_anywhere_is_settled_by_the_next() {
    if !have_mosquitto() {
        return;
    }
    let desk = about_to_be_mutual();
    // Mutual TLS places files and removes none; see below.
    for point in points("gateway.apply.").filter(|name| *name != "gateway.apply.removed") {
        let mut passes = 0;
        for pass in 1..=PASSES_MAX {
            if killed_at(&desk, point, pass, "apply").is_none() {
                break;
            }
            passes = pass;
            let finished = point == "gateway.apply.finished";
            let decided =
                finished || ["gateway.apply.decided", "gateway.apply.recorded"].contains(&point);
            let status = desk.sectag(&["gateway", "status"]).said();
            assert_eq!(
                status.contains("interrupted"),
                !finished,
                "{point}:{pass}: {status}"
            );
            let next = desk.ok(&["gateway", "apply"]);
            if !finished {
                next.says("an earlier apply was interrupted");
                next.says(if decided {
                    "its files stay"
                } else {
                    "it is undone"
                });
            }
            desk.ok(&["gateway", "probe"]).says("`gw-1`");
            desk.ok(&["gateway", "apply"]).says("nothing to do");
            back_to_plaintext(&desk);
        }
        assert!(passes > 0, "{point} was never reached");
        println!("{point}: killed at each of {passes} passes");
        // The last round was not killed.
        back_to_plaintext(&desk);
    }
}

#[test]
fn a_kill_within_the_writing_of_any_file_is_settled_too() {
    if !have_mosquitto() {
        return;
    }
    let desk = about_to_be_mutual();
    let point = "keep.file.after-rename";
    let mut passes = 0;
    for pass in 1..=PASSES_MAX {
        if killed_at(&desk, point, pass, "apply").is_none() {
            break;
        }
        passes = pass;
        desk.ok(&["gateway", "apply"]);
        desk.ok(&["gateway", "probe"]).says("`gw-1`");
        back_to_plaintext(&desk);
    }
    assert!(passes > 5, "{passes}");
    println!("{point}: killed at each of {passes} passes");
}

#[test]
fn a_way_back_that_is_killed_anywhere_is_gone_by_the_next() {
    if !have_mosquitto() {
        return;
    }
    for point in points("gateway.undo.") {
        let desk = about_to_be_mutual();
        let before = desk.state();
        let script = desk.read("restart.sh");
        let mut passes = 0;
        for pass in 1..=PASSES_MAX {
            // The broker does not take the new files: their word is no word.
            let spoil = "sed -i 's/^use_identity_as_username/use_nothing_as_username/' \"$here\"/etc/sectag/*.conf\nPATH=$PATH";
            desk.write("restart.sh", &script.replace("PATH=$PATH", spoil));
            if killed_at(&desk, point, pass, "apply").is_none() {
                break;
            }
            passes = pass;
            // Somebody mends the broker; then what was begun is undone and done anew.
            desk.write("restart.sh", &script);
            desk.ok(&["gateway", "apply"])
                .says("an earlier apply was interrupted")
                .says("it is undone");
            desk.ok(&["gateway", "probe"]).says("`gw-1`");
            back_to_plaintext(&desk);
        }
        assert!(passes > 0, "{point} was never reached");
        assert_eq!(
            desk.state().len(),
            before.len(),
            "{point}: nothing is left behind"
        );
        println!("{point}: killed at each of {passes} passes");
    }
}

#[test]
fn a_removal_that_is_killed_is_undone_by_the_next_and_done() {
    if !have_mosquitto() {
        return;
    }
    for point in [
        "gateway.apply.placed",
        "gateway.apply.removed",
        "gateway.apply.told",
        "gateway.apply.decided",
    ] {
        let desk = Desk::new(As::Mosquitto);
        let main = desk.main_file();
        let port = desk.internal.to_string();
        desk.ok(&["config", "set", "mqtt.bind.port", &port]);
        desk.ok(&["gateway", "apply"]);
        assert!(killed_at(&desk, point, 1, "remove").is_some(), "{point}");
        desk.ok(&["gateway", "remove"]).says("interrupted");
        assert_eq!(desk.main_file(), main, "{point}");
    }
}

/// Level none again, as another operator would do it, with mutual TLS wanted.
fn back_to_plaintext(desk: &Desk) {
    let port = desk.external.to_string();
    desk.ok(&["gateway", "init", "--level", "none", "--port", &port]);
    desk.ok(&[
        "gateway",
        "init",
        "--level",
        "mutual",
        "--name",
        "gw-1",
        "--dry-run",
    ]);
}
