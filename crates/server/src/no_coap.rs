//! In the place of the listener for CoAP, in a program built without it: nothing listens, and the status says so.

use crate::app::App;
use crate::error::StartError;
use crate::home::{Home, Pair};
use crate::settings::Coap;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// No socket.
pub(crate) struct Socket;

/// Nobody listens.
pub(crate) struct Listener;

#[allow(clippy::unused_async)] // as the other one
pub(crate) async fn bind(_: SocketAddr) -> Result<Socket, StartError> {
    Ok(Socket)
}

pub(crate) const fn address(_: &Socket, _: SocketAddr) -> Result<Option<SocketAddr>, StartError> {
    Ok(None)
}

impl Listener {
    pub(crate) fn open(
        _: Socket,
        _: Arc<App>,
        _: &Home,
        _: watch::Receiver<Arc<Pair>>,
        _: Coap,
    ) -> Result<Self, StartError> {
        Ok(Self)
    }

    pub(crate) fn status(&self) -> impl Fn() -> Value + Send + Sync + 'static {
        || "not built in".into()
    }

    /// Nothing, until the service ends.
    pub(crate) async fn serve(self, mut stop: watch::Receiver<bool>) {
        let _ = stop.wait_for(|asked| *asked).await;
    }
}
