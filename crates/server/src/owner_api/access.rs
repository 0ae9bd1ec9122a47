//! Who may do what: one row per endpoint. [`guard`](super::guard) decides by it, and `tests/roles.rs` tries every row.
//!
//! To add an endpoint, add its route and one row to [`TABLE`]; a route without a row is refused when it is called
//! (404), and `every_route_has_a_row_and_every_row_a_route` fails. The path is axum's template below `/v1`, without
//! the vendor's `/identities`. The columns:
//!
//! | column | what it says |
//! |---|---|
//! | role | the weakest role of a key that may; [`NOBODY`]: asks for no key |
//! | what | what it is about, and so what keys of other teams get: see [`What`] |
//! | scoped | what a key gets that is limited to tags: see [`Scoped`] |
//!
//! A handler still asks [`App::device_of`](crate::app::App::device_of) for the device, or compares the team of what it
//! found with [`Caller::team`](crate::app::Caller::team): the table says what must come out, the test sees that it does.

use axum::http::Method;
use sectag_store::Role;

/// One endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// `GET` (and so `HEAD`), `POST`, …
    pub method: &'static str,
    /// The route's template.
    pub path: &'static str,
    /// The weakest role that may; `None`: no key is asked for.
    pub role: Option<Role>,
    /// What it is about.
    pub what: What,
    /// What a key with tags gets.
    pub scoped: Scoped,
}

/// What an endpoint is about, which decides what keys of other teams get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The service itself: every team gets the same.
    Service,
    /// All that the caller's own team has, or something new for it: other teams cannot be named.
    OwnTeam,
    /// One thing, named in the path. Of another team it is answered like one that does not exist: 404, with the same words.
    Thing,
    /// The home: keys of other teams get 403.
    Home,
    /// What nobody finds who was not told its path: with [`NOBODY`], and a secret in the path.
    Secret,
}

/// What a key gets that is limited to tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoped {
    /// What concerns devices with one of its tags; others do not exist for it.
    Narrowed,
    /// All of it: it tells nothing of devices.
    Whole,
    /// 403: it concerns more than the devices with these tags.
    Refused,
}

use Scoped::{Narrowed, Refused, Whole};
use What::{Home, OwnTeam, Secret, Service, Thing};

const NOBODY: Option<Role> = None;
const VIEWER: Option<Role> = Some(Role::Viewer);
const EDITOR: Option<Role> = Some(Role::Editor);
const ADMIN: Option<Role> = Some(Role::Admin);
const OWNER: Option<Role> = Some(Role::Owner);

/// Every endpoint, by path.
#[rustfmt::skip] // one row, one line
pub const TABLE: &[Row] = &[
    // Devices.
    row("GET",    "/v1/claimed-devices",                                    VIEWER, OwnTeam, Narrowed),
    row("POST",   "/v1/claimed-devices",                                    EDITOR, OwnTeam, Narrowed),
    row("GET",    "/v1/claimed-devices/{id}",                               VIEWER, Thing,   Narrowed),
    row("PATCH",  "/v1/claimed-devices/{id}",                               EDITOR, Thing,   Narrowed),
    row("DELETE", "/v1/claimed-devices/{id}",                               EDITOR, Thing,   Narrowed),
    row("GET",    "/v1/claimed-devices/{id}/certificates",                  VIEWER, Thing,   Narrowed),
    // Commands.
    row("GET",    "/v1/claimed-devices/{id}/provisioning",                  VIEWER, Thing,   Narrowed),
    row("POST",   "/v1/claimed-devices/{id}/provisioning",                  EDITOR, Thing,   Narrowed),
    row("DELETE", "/v1/claimed-devices/{id}/provisioning",                  EDITOR, Thing,   Narrowed),
    row("GET",    "/v1/claimed-devices/{id}/provisioning/{command}",        VIEWER, Thing,   Narrowed),
    row("DELETE", "/v1/claimed-devices/{id}/provisioning/{command}",        EDITOR, Thing,   Narrowed),
    row("PATCH",  "/v1/claimed-devices/{id}/provisioning/{command}",        EDITOR, Thing,   Narrowed),
    // Rules: they are for all devices with a tag, and hold secrets for them. A plan tells of devices alone.
    row("GET",    "/v1/provisioning/tags",                                  VIEWER, OwnTeam, Refused),
    row("POST",   "/v1/provisioning/tags",                                  EDITOR, OwnTeam, Refused),
    row("GET",    "/v1/provisioning/tags/{tag}",                            VIEWER, Thing,   Refused),
    row("DELETE", "/v1/provisioning/tags/{tag}",                            EDITOR, Thing,   Refused),
    row("GET",    "/v1/provisioning-rules",                                 VIEWER, OwnTeam, Refused),
    row("POST",   "/v1/provisioning-rules",                                 EDITOR, OwnTeam, Refused),
    row("GET",    "/v1/provisioning-rules/{id}",                            VIEWER, Thing,   Refused),
    row("PATCH",  "/v1/provisioning-rules/{id}",                            EDITOR, Thing,   Refused),
    row("DELETE", "/v1/provisioning-rules/{id}",                            EDITOR, Thing,   Refused),
    row("POST",   "/v1/provisioning-rules/{id}/activate",                   EDITOR, Thing,   Refused),
    row("POST",   "/v1/provisioning-rules/plan",                            EDITOR, OwnTeam, Narrowed),
    row("POST",   "/v1/plan",                                               EDITOR, OwnTeam, Narrowed),
    row("GET",    "/v1/claimed-devices/{id}/plan",                          VIEWER, Thing,   Narrowed),
    row("POST",   "/v1/claimed-devices/{id}/plan",                          EDITOR, Thing,   Narrowed),
    row("POST",   "/v1/claimed-devices/{id}/reset",                         EDITOR, Thing,   Narrowed),
    // Certificates of the operator's own CA, and certificates taken back.
    row("POST",   "/v1/devices",                                            EDITOR, OwnTeam, Narrowed),
    row("GET",    "/v1/devices/{id}",                                       VIEWER, Thing,   Narrowed),
    row("DELETE", "/v1/devices/{id}",                                       EDITOR, Thing,   Narrowed),
    row("PUT",    "/v1/devices/{id}/name",                                  EDITOR, Thing,   Narrowed),
    row("PATCH",  "/v1/devices/{id}/state",                                 EDITOR, Service, Whole),
    row("POST",   "/v1/claimed-devices/bulk",                               EDITOR, OwnTeam, Narrowed),
    row("GET",    "/v1/bulk-ops-requests/{id}",                             EDITOR, Thing,   Narrowed),
    row("GET",    "/v1/bulk-ops-requests/{id}/errors/{secret}",             NOBODY, Secret,  Whole),
    row("POST",   "/v1/claimed-devices/{id}/certificates/{serial}/revoke",  EDITOR, Thing,   Narrowed),
    // The allow-list: for a claim, a device needs no tag yet.
    row("GET",    "/v1/allow-list",                                         VIEWER, OwnTeam, Refused),
    row("PUT",    "/v1/allow-list/{id}",                                    ADMIN,  OwnTeam, Refused),
    row("DELETE", "/v1/allow-list/{id}",                                    ADMIN,  Thing,   Refused),
    // People.
    row("GET",    "/v1/keys",                                               OWNER,  OwnTeam, Refused),
    row("POST",   "/v1/keys",                                               OWNER,  OwnTeam, Refused),
    row("DELETE", "/v1/keys/{name}",                                        OWNER,  Thing,   Refused),
    row("GET",    "/v1/teams",                                              VIEWER, OwnTeam, Whole),
    row("POST",   "/v1/teams",                                              OWNER,  Home,    Refused),
    row("GET",    "/v1/teams/{id}",                                         VIEWER, Thing,   Whole),
    row("PATCH",  "/v1/teams/{id}",                                         OWNER,  Home,    Refused),
    row("DELETE", "/v1/teams/{id}",                                         OWNER,  Home,    Refused),
    // Evidence. The export holds the whole chain, and with it what every team did.
    row("GET",    "/v1/audit",                                              ADMIN,  OwnTeam, Refused),
    row("GET",    "/v1/audit/export",                                       ADMIN,  Home,    Refused),
    row("GET",    "/v1/alarms",                                             VIEWER, OwnTeam, Narrowed),
    row("POST",   "/v1/alarms/{number}/ack",                                EDITOR, Thing,   Narrowed),
    row("GET",    "/v1/webhooks",                                           ADMIN,  OwnTeam, Refused),
    row("POST",   "/v1/webhooks",                                           ADMIN,  OwnTeam, Refused),
    row("GET",    "/v1/webhooks/{id}",                                      ADMIN,  Thing,   Refused),
    row("PATCH",  "/v1/webhooks/{id}",                                      ADMIN,  Thing,   Refused),
    row("DELETE", "/v1/webhooks/{id}",                                      ADMIN,  Thing,   Refused),
    row("POST",   "/v1/webhooks/{id}/test",                                 ADMIN,  Thing,   Refused),
    row("GET",    "/v1/events",                                             VIEWER, OwnTeam, Narrowed),
    // Certificates that end.
    row("GET",    "/v1/forecast",                                           VIEWER, OwnTeam, Narrowed),
    row("GET",    "/v1/renewals",                                           VIEWER, OwnTeam, Narrowed),
    row("GET",    "/v1/claimed-devices/{id}/renewals",                      VIEWER, Thing,   Narrowed),
    // The service.
    row("GET",    "/v1/status",                                             VIEWER, Service, Whole),
    row("GET",    "/v1/openapi.json",                                       NOBODY, Service, Whole),
    row("GET",    "/docs",                                                  NOBODY, Service, Whole),
    // Over TLS it asks for a key of the home itself.
    row("GET",    "/metrics",                                               NOBODY, Service, Whole),
    row("GET",    "/healthz",                                               NOBODY, Service, Whole),
];

const fn row(
    method: &'static str,
    path: &'static str,
    role: Option<Role>,
    what: What,
    scoped: Scoped,
) -> Row {
    Row {
        method,
        path,
        role,
        what,
        scoped,
    }
}

/// The methods of a path, for the header `Allow`.
pub(super) fn allowed(template: &str) -> String {
    let methods: Vec<&str> = rows_of(template).map(|row| row.method).collect();
    methods.join(", ")
}

/// Whether a path asks for no key, whatever the method.
pub(super) fn is_open(template: &str) -> bool {
    rows_of(template).all(|row| row.role.is_none())
}

/// What the table has for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// This endpoint.
    Row(&'static Row),
    /// The path, with other methods.
    OtherMethod,
    /// Nothing.
    Unknown,
}

/// The row of a route, by axum's template of it.
pub(super) fn of(method: &Method, template: &str) -> Found {
    // The same without its body, by the same right.
    let method = match *method {
        Method::HEAD => "GET",
        ref other => other.as_str(),
    };
    let mut found = Found::Unknown;
    for row in rows_of(template) {
        if row.method == method {
            return Found::Row(row);
        }
        found = Found::OtherMethod;
    }
    found
}

fn rows_of(template: &str) -> impl Iterator<Item = &'static Row> {
    let vendors = template.strip_prefix("/v1/identities/");
    TABLE.iter().filter(move |row| match vendors {
        Some(tail) => row.path.strip_prefix("/v1/") == Some(tail),
        None => row.path == template,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_endpoint_has_two_rows() {
        for (n, row) in TABLE.iter().enumerate() {
            let again = TABLE[n + 1..]
                .iter()
                .any(|other| (other.method, other.path) == (row.method, row.path));
            assert!(!again, "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn the_vendors_second_path_has_the_rights_of_the_first() {
        let first = of(&Method::GET, "/v1/claimed-devices/{id}");
        assert!(matches!(first, Found::Row(_)));
        let second = of(&Method::GET, "/v1/identities/claimed-devices/{id}");
        assert_eq!(first, second);
        assert_eq!(of(&Method::HEAD, "/v1/claimed-devices/{id}"), first);
    }

    #[test]
    fn what_is_not_in_the_table_is_not_found() {
        assert_eq!(of(&Method::PUT, "/v1/status"), Found::OtherMethod);
        assert_eq!(of(&Method::GET, "/v1/secrets"), Found::Unknown);
    }

    #[test]
    fn without_a_key_nothing_of_a_team_is_told() {
        for row in TABLE.iter().filter(|row| row.role.is_none()) {
            let told = row.what == Service || row.what == What::Secret;
            assert!(told, "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn changes_need_an_editor_at_least() {
        for row in TABLE.iter().filter(|row| row.method != "GET") {
            assert!(row.role >= EDITOR, "{} {}", row.method, row.path);
        }
    }
}
