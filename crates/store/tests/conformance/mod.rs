//! What every store must do, whatever stands behind it. A backend joins with one `conformance_of!` line.

mod claims;
mod commits;
mod lists;
mod secrets;

pub(crate) use {claims::*, commits::*, lists::*, secrets::*};

use sectag_store::Store;
use std::sync::Arc;

/// A database that outlives the stores opened on it.
pub(crate) trait Database {
    /// Opens it; whoever calls has dropped the store that was open before.
    fn open(&self) -> Arc<dyn Store>;
}

/// One test per rule, run on a new empty [`Database`] each.
macro_rules! conformance_of {
    ($backend:ident, $new:expr) => {
        conformance_of! { $backend, $new;
            a_claim_is_remembered_as_it_was_made
            claiming_again_changes_nothing
            a_claim_of_another_owner_is_told_apart
            a_known_device_under_another_key_is_a_conflict
            the_owner_may_accept_a_new_key
            a_tombstone_keeps_the_key
            a_tombstone_narrows_the_candidates
            a_dry_run_changes_nothing
            a_claim_needs_a_key
            versions_never_repeat
            a_commit_is_all_or_nothing
            of_two_commits_on_one_version_one_wins
            a_block_in_between_is_a_conflict
            the_queue_is_open_commands_and_named_ones
            commands_are_seen_by_whoever_sees_their_device
            commands_come_back_as_they_were
            removed_commands_are_gone
            secrets_are_for_the_queue_only
            a_terminal_command_has_no_secrets
            a_request_without_its_secrets_keeps_them
            a_changed_request_loses_old_secrets
            unclaiming_erases_commands
            the_sequence_never_goes_back
            a_pin_is_final
            a_public_key_is_issued_once_ever
            a_certificate_belongs_to_the_device_of_its_change
            times_never_go_back
            devices_are_listed_by_pages_and_filters
            many_pages_meet_each_device_once
            the_allow_list_holds_one_key_per_device
            api_keys_are_found_by_hash_until_revoked
            the_audit_trail_tells_all_changes
            everything_is_there_after_reopening
            what_does_not_exist_is_none
        }
    };
    ($backend:ident, $new:expr; $($rule:ident)+) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    let database = $new();
                    super::conformance::$rule(&database).await;
                }
            )+
        }
    };
}
pub(crate) use conformance_of;
