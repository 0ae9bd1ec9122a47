//! JSON as owners see it. Recorded shapes first; members that no recording shows are ours (spec/owner-api §8).

use crate::app::hex;
use sectag_proto::Timestamp;
use sectag_proto::service::Command;
use sectag_store::{Allowed, ApiKey, AuditRecord, Device, Issued};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

/// spec/owner-api §2.1; `blocked`, `keyId`, `lastSeenAt` and `finishedAt` are ours. `keyId` is the pinned kid, null
/// until the device's first request. `imei` is not in a claim token: null.
pub(crate) fn device(device: &Device) -> Value {
    json!({
        "id": device.id.to_string(),
        "deviceType": device.device_type.owner_name(),
        "firmwareId": device.firmware.to_string(),
        "imei": null,
        "ownerId": device.owner,
        "ownershipStatus": "IDENTIFIED",
        "tags": device.tags,
        "status": if device.blocked { "BLOCKED" } else { "READY" },
        "claimedAt": moment(device.claimed_at),
        "blocked": device.blocked,
        "keyId": device.pin.as_ref().map(|key| key.kid().to_string()),
        "lastSeenAt": device.last_seen_at.map(moment),
        "finishedAt": device.finished_at.map(moment),
    })
}

/// spec/owner-api §3.2: `requestedAt` inside `request`, `respondedAt` inside `response`.
pub(crate) fn command(device: &str, command: &Command) -> Value {
    let member = command.request.kind().member();
    let mut request = match serde_json::to_value(&command.request) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(), // every request is an object with one member
    };
    request.insert(
        "requestedAt".into(),
        json!(command.requested_at.map(moment)),
    );
    let response = command.response.as_ref().map(|response| {
        let mut inner = Map::new();
        inner.insert("message".into(), json!(response.message));
        if let Some(code) = response.cme_error {
            inner.insert("cmeError".into(), json!(code));
        }
        if let Some(cose) = &response.attestation {
            inner.insert("attestation".into(), json!(cose));
        }
        if let Some(failure) = response.failure {
            inner.insert("failure".into(), json!(failure));
        }
        let mut outer = Map::new();
        outer.insert(member.into(), Value::Object(inner));
        outer.insert(
            "respondedAt".into(),
            json!(command.responded_at.map(moment)),
        );
        Value::Object(outer)
    });
    json!({
        "id": command.id.to_string(),
        "deviceId": device,
        "ruleId": command.rule_id,
        "description": command.description,
        "request": request,
        "response": response,
        "status": command.status.as_str(),
        "createdAt": moment(command.created_at),
        "updatedAt": command.updated_at.map(moment),
    })
}

/// A certificate on record (ours).
pub(crate) fn certificate(issued: &Issued) -> Value {
    json!({
        "serial": issued.serial,
        "deviceId": issued.device.to_string(),
        "commandId": issued.command.to_string(),
        "publicKeySha256": hex(&issued.spki_sha256),
        "issuedAt": moment(issued.issued_at),
        "content": sectag_pki::pem::encode("CERTIFICATE", &issued.certificate_der),
    })
}

/// An API key without its text (ours).
pub(crate) fn key(key: &ApiKey) -> Value {
    json!({
        "name": key.name,
        "role": key.role.as_str(),
        "createdAt": moment(key.created_at),
        "revokedAt": key.revoked_at.map(moment),
    })
}

/// An entry of the allow-list (ours).
pub(crate) fn allowed(allowed: &Allowed) -> Value {
    json!({
        "id": allowed.device.to_string(),
        "keyId": allowed.kid.to_string(),
        "addedAt": moment(allowed.added_at),
    })
}

/// An entry of the audit trail (ours).
pub(crate) fn audit(record: &AuditRecord) -> Value {
    json!({
        "number": record.number,
        "at": moment(record.event.at),
        "by": record.event.by,
        "action": record.event.action,
        "deviceId": record.event.device.map(|id| id.to_string()),
        "commandId": record.event.command.map(|id| id.to_string()),
        "detail": record.event.detail,
        "before": record.event.before,
        "after": record.event.after,
    })
}

/// A list on one page, or a page of a list.
pub(crate) fn page(items: Vec<Value>, total: u64, next: Option<String>) -> Value {
    let mut page = json!({ "items": items, "total": total });
    if let Some(next) = next {
        page["pageNextToken"] = json!(next);
    }
    page
}

/// ISO 8601 UTC with milliseconds and `Z` (spec/owner-api §1).
pub(crate) fn moment(at: Timestamp) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| "9999-12-31T23:59:59.999Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_iso_8601_with_milliseconds() {
        assert_eq!(
            moment(Timestamp(1_745_924_553_377)),
            "2025-04-29T11:02:33.377Z"
        );
        assert_eq!(moment(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
