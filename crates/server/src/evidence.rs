//! Evidence as it is made: what is followed, counted and sent, in one place for those who answer.

use crate::events::Hub;
use crate::metrics::Metrics;
use crate::webhooks::Webhooks;
use std::sync::Arc;
use tokio::sync::watch;

/// What handlers need of it.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// Events for followers.
    pub(crate) hub: Arc<Hub>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Where events are sent.
    pub(crate) webhooks: Arc<Webhooks>,
    /// Turns true when the service ends.
    pub(crate) stopped: watch::Receiver<bool>,
}

/// Until the service ends.
pub(crate) async fn ended(stopped: &mut watch::Receiver<bool>) {
    // An error: whoever would say so is gone, which says it.
    drop(stopped.wait_for(|asked| *asked).await);
}
