//! Crash points: named places where a test may end the process as a power cut would.
//!
//! [`arm`] takes `<number|name>[:<k>]` (the `cli` reads it from `SECTAG_CRASH_AT`): at the k-th pass (from 1, the
//! default) of that [`point`] the process kills itself with SIGKILL, so neither destructors nor buffers get a say.
//! When nothing is armed a point costs one relaxed atomic load.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Every point: its name and what a stop there means. The number of a point is its place in this list, from 1.
///
/// Points are grouped by crate; a new one goes to the end of its group.
pub const POINTS: &[(&str, &str)] = &[
    (
        "keep.file.before-rename",
        "the new content is on disk under a temporary name; readers see the old",
    ),
    (
        "keep.file.after-rename",
        "the new content is in place, its directory entry may not be on disk",
    ),
    (
        "keep.pair.before-ready",
        "both halves are on disk under temporary names; the old pair is valid",
    ),
    (
        "keep.pair.after-ready",
        "the new pair is decided, but the old files are in place",
    ),
    (
        "keep.pair.between-renames",
        "the new key stands beside the old certificate; loading finishes the pair",
    ),
    (
        "keep.pair.after-renames",
        "the new pair is in place, the mark that says so is still there",
    ),
    (
        "store.claim.before-commit",
        "a claim: decided, not yet durable; nobody was answered",
    ),
    (
        "store.claim.after-commit",
        "a claim: durable, but nobody was answered",
    ),
    (
        "store.unclaim.before-commit",
        "an unclaim with its tombstone: decided, not yet durable; nobody was answered",
    ),
    (
        "store.unclaim.after-commit",
        "an unclaim with its tombstone: durable, but nobody was answered",
    ),
    (
        "store.block.before-commit",
        "a block or unblock: decided, not yet durable; nobody was answered",
    ),
    (
        "store.block.after-commit",
        "a block or unblock: durable, but nobody was answered",
    ),
    (
        "store.tags.before-commit",
        "a change of tags: decided, not yet durable; nobody was answered",
    ),
    (
        "store.tags.after-commit",
        "a change of tags: durable, but nobody was answered",
    ),
    (
        "store.commit.before-commit",
        "a decision about a device (queued commands, a fetch, a report): decided, not yet durable; nobody was answered",
    ),
    (
        "store.commit.after-commit",
        "a decision about a device (queued commands, a fetch, a report): durable, but nobody was answered",
    ),
    (
        "store.allow.before-commit",
        "a change of the allow-list: decided, not yet durable; nobody was answered",
    ),
    (
        "store.allow.after-commit",
        "a change of the allow-list: durable, but nobody was answered",
    ),
    (
        "store.key.before-commit",
        "an API key added or revoked: decided, not yet durable; nobody was answered",
    ),
    (
        "store.key.after-commit",
        "an API key added or revoked: durable, but nobody was answered",
    ),
    (
        "store.record.before-commit",
        "audit events: decided, not yet durable; nobody was answered",
    ),
    (
        "store.record.after-commit",
        "audit events: durable, but nobody was answered",
    ),
    (
        "store.outbox.before-commit",
        "a webhook, its cursor, or an acknowledged alarm: decided, not yet durable; nobody was answered",
    ),
    (
        "store.outbox.after-commit",
        "a webhook, its cursor, or an acknowledged alarm: durable, but nobody was answered",
    ),
    (
        "store.migrate.before-commit",
        "a schema step: done, not yet durable; the database is as it was",
    ),
    (
        "store.migrate.after-commit",
        "a schema step: durable; the start goes on with the next one",
    ),
    (
        "http.fetch.before-response",
        "a fetch: durable, the answer has not left",
    ),
    (
        "http.fetch.after-response",
        "a fetch: durable, the answer has left and the connection is closed",
    ),
    (
        "http.report.before-response",
        "a report: durable, the answer has not left",
    ),
    (
        "http.report.after-response",
        "a report: durable, the answer has left and the connection is closed",
    ),
    (
        "http.claim.before-response",
        "a claim: durable, the answer has not left",
    ),
    (
        "http.claim.after-response",
        "a claim: durable, the answer has left and the connection is closed",
    ),
    (
        "http.unclaim.before-response",
        "an unclaim: durable, the answer has not left",
    ),
    (
        "http.unclaim.after-response",
        "an unclaim: durable, the answer has left and the connection is closed",
    ),
    (
        "http.create-command.before-response",
        "a new command: durable, the answer has not left",
    ),
    (
        "http.create-command.after-response",
        "a new command: durable, the answer has left and the connection is closed",
    ),
    (
        "http.delete-command.before-response",
        "a removed command: durable, the answer has not left",
    ),
    (
        "http.delete-command.after-response",
        "a removed command: durable, the answer has left and the connection is closed",
    ),
    (
        "http.change.before-response",
        "tags, block, API keys or the allow-list: durable, the answer has not left",
    ),
    (
        "http.change.after-response",
        "tags, block, API keys or the allow-list: durable, the answer has left and the connection is closed",
    ),
    (
        "audit.checkpoint.before-file",
        "the end of the audit trail is signed, nobody but the process knows",
    ),
    (
        "audit.checkpoint.after-file",
        "a checkpoint of the audit trail is in its file, durably; the database does not have it",
    ),
    (
        "audit.checkpoint.after-store",
        "a checkpoint of the audit trail is in its file and in the database",
    ),
    (
        "webhooks.answered",
        "an event was sent and its receiver said yes, the cursor stands before it; it is sent again under the same id",
    ),
    (
        "teams.delete.decided",
        "a team is deleted, durably; its CA, its list and its operator's certificate are still in the home",
    ),
    (
        "teams.delete.certificate-gone",
        "the certificate of a deleted team's CA is gone, its key and its operator's certificate are still in the home",
    ),
    (
        "teams.create.made",
        "a new team's CA and its operator's certificate are in the home; the database does not know the team",
    ),
    (
        "teams.aside.copied",
        "the CA of a team is being set aside or taken back: it is in both places",
    ),
    (
        "coap.sessions.before-delete",
        "a start: the saved DTLS sessions are read, their file is still there; nothing was sent with their keys",
    ),
    (
        "coap.sessions.after-delete",
        "a start: the file of saved DTLS sessions is gone for good, none of them is loaded",
    ),
    (
        "coap.sessions.before-write",
        "an orderly end: the DTLS sessions are taken down, their file is not there",
    ),
    (
        "coap.sessions.after-write",
        "an orderly end: the DTLS sessions are in their file, durably, nobody was told",
    ),
    (
        "pki.issue.recorded",
        "a new certificate is in the register, its pair is not on disk; it can be revoked though nobody has it",
    ),
    (
        "pki.revoke.recorded",
        "a revocation is in the register, the list that says so is not on disk; the next list has it",
    ),
    (
        "pki.promote.checked",
        "a renewed pair was checked, the old one is in place",
    ),
    (
        "pki.promote.swapped",
        "a renewed pair is in place, its `.new` files are still there",
    ),
    (
        "gateway.apply.remembered",
        "the journal and copies of what will change are on disk; nothing is changed",
    ),
    (
        "gateway.apply.placed",
        "one more file of the plan is in place",
    ),
    ("gateway.apply.removed", "one more file of ours is gone"),
    (
        "gateway.apply.tested",
        "all files are in place, the broker has tested them if it can",
    ),
    (
        "gateway.apply.marked",
        "the journal says that the broker is about to take the files",
    ),
    (
        "gateway.apply.told",
        "the broker was told to reload or restart",
    ),
    ("gateway.apply.listening", "the broker serves again"),
    (
        "gateway.apply.probed",
        "the new listeners are proved, nobody was told",
    ),
    (
        "gateway.apply.decided",
        "the journal says that the new files stay",
    ),
    (
        "gateway.apply.recorded",
        "what was applied is on record, the journal is still there",
    ),
    ("gateway.apply.finished", "the journal is gone"),
    ("gateway.undo.restored", "one more file is as it was"),
    (
        "gateway.undo.told",
        "the broker was told to take the old files",
    ),
    (
        "gateway.undo.serving",
        "the broker serves with the old files, the journal is still there",
    ),
];

/// The armed point's number, 0 for none.
static ARMED: AtomicUsize = AtomicUsize::new(0);
/// Passes left until the stop.
static PASSES_LEFT: AtomicU64 = AtomicU64::new(0);

/// Arms the point that `spec` names: `<number|name>[:<k-th pass, from 1>]`. Arming again replaces it.
///
/// # Errors
/// A sentence for the user when the point does not exist or the pass is not a positive number.
pub fn arm(spec: &str) -> Result<(), String> {
    let (which, pass) = match spec.split_once(':') {
        Some((which, pass)) => (which, pass),
        None => (spec, "1"),
    };
    let pass: u64 = match pass.parse() {
        Ok(pass) if pass > 0 => pass,
        _ => {
            return Err(format!(
                "crash point `{spec}`: the pass `{pass}` is not a number from 1"
            ));
        }
    };
    let number = match which.parse::<usize>() {
        Ok(number) if (1..=POINTS.len()).contains(&number) => number,
        Ok(number) => {
            return Err(format!(
                "there is no crash point {number}; they are numbered 1 to {}",
                POINTS.len()
            ));
        }
        Err(_) => number_of(which)
            .ok_or_else(|| format!("there is no crash point `{which}`; known: {}", names()))?,
    };
    PASSES_LEFT.store(pass, Ordering::SeqCst);
    ARMED.store(number, Ordering::SeqCst);
    Ok(())
}

/// A place where the process may be stopped; `name` is one of [`POINTS`].
///
/// # Panics
/// In debug builds, when `name` is not in the list: a point nobody can arm is a mistake in the program.
pub fn point(name: &'static str) {
    debug_assert!(
        number_of(name).is_some(),
        "crash point `{name}` is not in POINTS"
    );
    let armed = ARMED.load(Ordering::Relaxed);
    if armed != 0 && number_of(name) == Some(armed) {
        // Several threads may pass at once; exactly one of them takes the count from 1 to 0.
        if PASSES_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
            die();
        }
    }
}

fn number_of(name: &str) -> Option<usize> {
    POINTS
        .iter()
        .position(|(known, _)| *known == name)
        .map(|at| at + 1)
}

fn names() -> String {
    let names: Vec<&str> = POINTS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn die() -> ! {
    // A signal to oneself cannot fail; should it, abort ends the process without running destructors, too.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_carry_their_crate() {
        for (at, (name, meaning)) in POINTS.iter().enumerate() {
            assert_eq!(number_of(name), Some(at + 1), "`{name}` appears twice");
            assert!(name.contains('.') && !name.contains(':'), "`{name}`");
            assert!(name.parse::<usize>().is_err(), "`{name}` reads as a number");
            assert!(!meaning.is_empty());
        }
    }

    #[test]
    fn a_point_that_does_not_exist_cannot_be_armed() {
        assert!(
            arm("keep.nowhere")
                .unwrap_err()
                .contains("keep.file.before-rename")
        );
        assert!(arm("0").unwrap_err().contains("numbered 1 to"));
        assert!(arm("999").unwrap_err().contains("numbered 1 to"));
        assert!(arm("1:0").unwrap_err().contains("not a number from 1"));
        assert!(arm("1:x").unwrap_err().contains("not a number from 1"));
        assert!(arm("").is_err());
    }

    #[test]
    fn an_unarmed_point_is_passed() {
        point("keep.file.before-rename");
    }

    #[test]
    #[should_panic(expected = "not in POINTS")]
    #[cfg(debug_assertions)]
    fn a_misspelled_point_is_a_mistake_in_the_program() {
        point("keep.flie.before-rename");
    }
}
