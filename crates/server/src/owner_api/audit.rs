//! The audit trail: by pages, and its export as NDJSON, a page at a time, so that its length costs no memory.

use super::openapi::Unknown;
use super::request::{Answer, Paging, Query, device_id, listed, no_such};
use super::{Api, Refused, shapes};
use crate::app::{Caller, OwnerError};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::IntoResponse;
use hyper::body::{Body as HttpBody, Frame};
use sectag_store::audit::{Header, Line};
use sectag_store::{AuditScope, Role, Store, StoreError};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Entries read at once.
const PAGE: usize = 200;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_audit))
        .routes(routes!(export))
}

/// The audit trail
///
/// What concerns the team of the API key, the latest entries first; for the home's own team also what concerns the service.
#[utoipa::path(
    get,
    path = "/audit",
    tag = "evidence",
    params(
        Paging,
        ("device" = Option<String>, Query, format = "uuid", description = "Only what concerns this device."),
        ("all" = Option<bool>, Query, description = "What concerns any team: for owners of the home's own team."),
    ),
    responses((status = 200, description = "A page of it.", body = shapes::Page<shapes::AuditEntry>), Unknown),
)]
async fn list_audit(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let device = query.text("device").map(|id| device_id(&id)).transpose()?;
    let before = query.after()?;
    let (store, limit) = (api.app.store(), query.page_limit()?);
    let page = if query.flag("all")? {
        if !api.app.is_home(&caller.team) {
            return Err(Refused(OwnerError::HomeOnly));
        }
        caller.need(Role::Owner)?;
        store.audit(device, before, limit).await?
    } else {
        let scope = AuditScope {
            service: api.app.is_home(&caller.team),
            team: caller.team,
        };
        store.audit_of(scope, device, before, limit).await?
    };
    Ok(listed(page, |entry| shapes::audit(&entry)))
}

/// The audit trail, to be verified elsewhere
///
/// One JSON object in a line, as in the reference of the audit trail. The last line says that it is the last one; an answer
/// without it reached its limit, or broke off, and goes on with `after`.
#[utoipa::path(
    get,
    path = "/audit/export",
    tag = "evidence",
    params(
        ("after" = Option<u64>, Query, description = "Begin behind the entry with this number."),
        ("limit" = Option<u64>, Query, description = "Entries at most."),
    ),
    responses((status = 200, description = "The export.", body = String, content_type = "application/x-ndjson"), Unknown),
)]
async fn export(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::of(query)?;
    let after = query.value("after")?.unwrap_or(0);
    let limit = query.value("limit")?.unwrap_or(u64::MAX);
    let head = api.app.store().audit_head().await?;
    if after > head.number {
        return Err(no_such("entry of the audit trail", &after.to_string()));
    }
    // One page on its way and one being read.
    let (pages, body) = mpsc::channel(1);
    let header = Header {
        after,
        at: api.app.now().0,
        public_key: api.audit_key.to_string(),
    };
    let export = Export {
        store: api.app.store().clone(),
        pages,
        text: String::new(),
    };
    tokio::spawn(export.run(header, limit));
    let json_lines = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((json_lines, Body::new(Pages(body))).into_response())
}

struct Export {
    store: Arc<dyn Store>,
    pages: mpsc::Sender<Result<Bytes, StoreError>>,
    text: String,
}

impl Export {
    async fn run(mut self, header: Header, limit: u64) {
        if let Err(e) = self.write(header, limit).await {
            tracing::warn!(reason = %e, "an export of the audit trail broke off");
            // A caller that went away needs no answer.
            let _ = self.pages.send(Err(e)).await;
        }
    }

    async fn write(&mut self, header: Header, limit: u64) -> Result<(), StoreError> {
        let mut after = header.after;
        let mut signed = 0;
        self.line(&Line::Header(header));
        // A continued export had them in its first part.
        let wanted = after == 0;
        loop {
            let page = match wanted {
                true => self.store.checkpoints(signed, PAGE).await?,
                false => Vec::new(),
            };
            let Some(last) = page.last() else { break };
            signed = last.number;
            for checkpoint in page {
                self.line(&Line::Checkpoint(checkpoint));
            }
            if !self.flush().await {
                return Ok(());
            }
        }
        // After the checkpoints: what they are about is there by then, or was cut off.
        let head = self.store.audit_head().await?;
        let stop = after.saturating_add(limit).min(head.number);
        while after < stop {
            let page = self.store.audit_entries(after, stop, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            for entry in page {
                self.line(&Line::Entry(Box::new(entry)));
            }
            if !self.flush().await {
                return Ok(());
            }
        }
        if stop == head.number {
            self.line(&Line::End(head));
        }
        self.flush().await;
        Ok(())
    }

    fn line(&mut self, line: &Line) {
        self.text.push_str(&line.text());
        self.text.push('\n');
    }

    /// Whether somebody is still reading.
    async fn flush(&mut self) -> bool {
        let page = std::mem::take(&mut self.text);
        self.pages.send(Ok(page.into())).await.is_ok()
    }
}

/// A body that comes in pieces.
pub(super) struct Pages(pub(super) mpsc::Receiver<Result<Bytes, StoreError>>);

impl HttpBody for Pages {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let page = self.0.poll_recv(task);
        page.map(|page| page.map(|page| page.map(Frame::data)))
    }
}
