//! What every handler reads a request with, body, JSON, query, ids; and how a list is answered.

use super::{Refused, answer, shapes};
use crate::app::OwnerError;
use crate::objects;
use axum::body::{Body, to_bytes};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use sectag_proto::{CommandId, DeviceId, Timestamp};
use sectag_store::Page;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::str::FromStr;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::IntoParams;

pub(super) type Answer = Result<Response, Refused>;

const PAGE_LIMIT: usize = 10;
const PAGE_LIMIT_MAX: usize = 100;

/// The parameters of a list that comes in pages, for `params(…)`; [`Query`] reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "read by name")]
pub(super) struct Paging {
    /// Items on a page; more than 100 are not given.
    #[param(minimum = 1, default = 10)]
    page_limit: Option<u32>,
    /// Of the page before.
    page_next_token: Option<String>,
}

pub(super) async fn read(body: Body, max: usize) -> Result<axum::body::Bytes, Refused> {
    to_bytes(body, max).await.map_err(|e| {
        let too_large = std::error::Error::source(&e)
            .is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
        Refused(if too_large {
            OwnerError::TooLarge { max }
        } else {
            OwnerError::Malformed("the body ended early".to_owned())
        })
    })
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    objects::from_slice(bytes).map_err(|e| {
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
        Refused(if e.is_data() {
            OwnerError::Unprocessable(e.to_string())
        } else if is_json() {
            // A command request that is empty, or has more than one member.
            OwnerError::Unprocessable(format!(
                "an object with exactly one member, named after the command, is expected ({e})"
            ))
        } else {
            OwnerError::Malformed(format!("not JSON: {e}"))
        })
    })
}

pub(super) fn device_id(text: &str) -> Result<DeviceId, Refused> {
    id("claimed device", text)
}

pub(super) fn command_id(text: &str) -> Result<CommandId, Refused> {
    id("command", text)
}

/// From a path: what does not read as an id names nothing.
pub(super) fn id<T: FromStr>(what: &'static str, text: &str) -> Result<T, Refused> {
    text.parse().map_err(|_| no_such(what, text))
}

pub(super) fn no_such(what: &'static str, id: &str) -> Refused {
    Refused(OwnerError::NotFound { what, id: said(id) })
}

/// As much of a caller's words as an answer repeats.
fn said(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// A page of a list.
pub(super) fn listed<T, S: Serialize>(
    page: Page<T, impl ToString, impl Into<Option<u64>>>,
    shape: impl FnMut(T) -> S,
) -> Response {
    let items: Vec<S> = page.items.into_iter().map(shape).collect();
    let next = page.next.map(|cursor| cursor.to_string());
    answer(StatusCode::OK, &shapes::page(items, page.total, next))
}

/// A list that is always on one page.
pub(super) fn listed_whole<S: Serialize>(items: Vec<S>) -> Response {
    answer(StatusCode::OK, &shapes::whole(items))
}

/// An RFC 3339 time.
pub(super) fn moment(field: &'static str, text: &str) -> Result<Timestamp, OwnerError> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    let ms = parsed.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    ms.map(Timestamp).ok_or_else(|| OwnerError::Invalid {
        field,
        reason: "not a time such as 2027-01-31T00:00:00Z".to_owned(),
    })
}

/// Query parameters by name; unknown ones are not ours.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn of(raw: Option<String>) -> Result<Self, OwnerError> {
        let wrong = || OwnerError::Malformed("the query cannot be read".to_owned());
        let uri: Uri = format!("/?{}", raw.unwrap_or_default())
            .parse()
            .map_err(|_| wrong())?;
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        let mut known = HashMap::new();
        for (name, value) in pairs.map_err(|_| wrong())?.0 {
            // Which of them is meant, nobody knows.
            if known.contains_key(&name) {
                let name = said(&name);
                let reason = format!("query parameter `{name}` is there more than once");
                return Err(OwnerError::Malformed(reason));
            }
            known.insert(name, value);
        }
        Ok(Self(known))
    }

    pub(super) fn wrong(name: &'static str) -> OwnerError {
        OwnerError::Malformed(format!("query parameter `{name}` has no such value"))
    }

    /// What was sent, the empty text as well: a filter without a value is a mistake, and must not show everything. Only the
    /// token of a page may be empty, so that a loop need not treat its first page differently.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let is_first_page = |value: &str| value.is_empty() && name == "pageNextToken";
        let given = self.0.get(name).filter(|value| !is_first_page(value));
        given.cloned()
    }

    /// What was sent, read.
    pub(super) fn value<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, OwnerError> {
        let read = |text: String| text.parse().map_err(|_| Self::wrong(name));
        self.text(name).map(read).transpose()
    }

    /// Where the page begins: as the page before told it.
    pub(super) fn after<T: FromStr>(&self) -> Result<Option<T>, OwnerError> {
        self.value("pageNextToken")
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, OwnerError> {
        match self
            .0
            .get(name)
            .map(|value| value.to_ascii_lowercase())
            .as_deref()
        {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(Self::wrong(name)),
        }
    }

    pub(super) fn page_limit(&self) -> Result<usize, OwnerError> {
        self.page_limit_or(PAGE_LIMIT)
    }

    pub(super) fn page_limit_or(&self, limit: usize) -> Result<usize, OwnerError> {
        match self.value("pageLimit")?.unwrap_or(limit) {
            0 => Err(Self::wrong("pageLimit")),
            limit => Ok(limit.min(PAGE_LIMIT_MAX)),
        }
    }
}
