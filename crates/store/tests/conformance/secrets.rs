//! Secrets of commands: where they are, and when they go.

use super::Database;
use crate::fixtures::*;
use sectag_proto::command::CommandRequest;
use sectag_proto::service::Status;
use sectag_store::Store;

/// The secrets that the queue has for command n.
pub(crate) async fn secrets(store: &dyn Store, n: u32) -> Vec<String> {
    let loaded = store
        .queue(device_id(1), &[command_id(n)])
        .await
        .unwrap()
        .unwrap();
    let mut commands = loaded.queue.commands().iter();
    let command = commands
        .find(|command| command.id == command_id(n))
        .unwrap();
    let secrets = command.request.secrets();
    secrets
        .into_iter()
        .map(|secret| secret.expose().clone())
        .collect()
}

fn erased(mut request: CommandRequest) -> CommandRequest {
    request.erase_secrets();
    request
}

pub(crate) async fn secrets_are_for_the_queue_only(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    store
        .commit(device.id, 1, adding(vec![command(1, psk())]))
        .await
        .unwrap();
    assert_eq!(secrets(&*store, 1).await, [SECRET]);
    let shown = store
        .command(device.id, command_id(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown.request, erased(psk()));
    assert_eq!(
        store.commands(device.id).await.unwrap()[0].request,
        erased(psk())
    );
}

pub(crate) async fn a_terminal_command_has_no_secrets(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    store
        .commit(device.id, 1, adding(vec![command(1, psk())]))
        .await
        .unwrap();
    let done = terminal(command(1, psk()));
    store
        .commit(device.id, 2, adding(vec![done]))
        .await
        .unwrap();
    assert_eq!(secrets(&*store, 1).await, [""; 0]);
    // Should it ever be opened again, they stay away.
    store
        .commit(device.id, 3, adding(vec![command(1, erased(psk()))]))
        .await
        .unwrap();
    assert_eq!(secrets(&*store, 1).await, [""; 0]);
}

pub(crate) async fn a_request_without_its_secrets_keeps_them(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    store
        .commit(device.id, 1, adding(vec![command(1, psk())]))
        .await
        .unwrap();
    let mut renamed = store
        .command(device.id, command_id(1))
        .await
        .unwrap()
        .unwrap();
    renamed.description = Some("renamed".into());
    renamed.status = Status::InProgress;
    store
        .commit(device.id, 2, adding(vec![renamed.clone()]))
        .await
        .unwrap();
    assert_eq!(secrets(&*store, 1).await, [SECRET]);
    assert_eq!(
        store.command(device.id, command_id(1)).await.unwrap(),
        Some(renamed)
    );
}

pub(crate) async fn a_changed_request_loses_old_secrets(database: &impl Database) {
    let store = database.open();
    let device = claimed(&*store, 1).await;
    store
        .commit(device.id, 1, adding(vec![command(1, psk())]))
        .await
        .unwrap();
    store
        .commit(device.id, 2, adding(vec![command(1, csr())]))
        .await
        .unwrap();
    store
        .commit(device.id, 3, adding(vec![command(1, erased(psk()))]))
        .await
        .unwrap();
    assert_eq!(secrets(&*store, 1).await, [""; 0]);
}
