//! Paths of the owner API: ids and values in them, and lists that come in pages.

use super::Owner;
use crate::fault::{Fault, Outcome};
use serde_json::Value;

/// All items of a list whose path has a query already.
pub(crate) async fn all_pages(owner: &Owner, path: &str) -> Outcome<Vec<Value>> {
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let page = owner.get(&format!("{path}{next}")).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["pageNextToken"].as_str() {
            Some(token) if !token.is_empty() => next = format!("&pageNextToken={}", percent(token)),
            _ => return Ok(items),
        }
    }
}

/// An id as a path segment; an id of ours never needs escaping, so other characters are a typing mistake.
pub(crate) fn segment(id: &str) -> Outcome<&str> {
    if !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    {
        Ok(id)
    } else {
        Err(Fault::no(format!("`{id}` is not an id")).hint("`sectag devices` lists device ids"))
    }
}

/// A value in a query or a path, with everything escaped that could mean something else there.
pub(crate) fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
