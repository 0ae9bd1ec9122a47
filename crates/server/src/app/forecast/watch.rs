//! What goes on beside requests: uses of certificates are written down, and the calendar is looked at once a day.

use super::look::LOOK_EVERY;
use crate::app::App;
use sectag_proto::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Uses are gathered for so long before they are written: a storm of connections becomes a few transactions.
const GATHER: Duration = Duration::from_millis(500);
/// How often it is asked whether a day has gone by, since the clock may be set; and a look that failed is repeated.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// Until the service ends.
pub(crate) async fn run(app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let mut looked_at: Option<Timestamp> = None;
    loop {
        let now = app.now();
        if looked_at.is_none_or(|at| now.since(at) >= LOOK_EVERY || at > now) {
            match app.look_at_lives(now).await {
                Ok(_) => looked_at = Some(now),
                Err(reason) => tracing::warn!(%reason, "cannot look at the certificates' ends"),
            }
        }
        tokio::select! {
            _ = stopped.changed() => break,
            () = tokio::time::sleep(ASK_EVERY) => {}
            () = app.uses.waiting() => {
                tokio::select! {
                    _ = stopped.changed() => break,
                    () = tokio::time::sleep(GATHER) => {}
                }
            }
        }
        write(&app).await;
    }
    write(&app).await;
}

async fn write(app: &App) {
    if let Err(reason) = app.write_uses().await {
        tracing::warn!(%reason, "cannot write down which certificates are in use");
    }
}
