//! What is wrong with a listener as a whole, after all lines are read.

use super::super::effective::{At, Effective, Listener, Origin, Problem, ProblemKind};

/// Problems of each listener, then of pairs of them.
pub(super) fn problems(effective: &Effective) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, listener) in effective.listeners.iter().enumerate() {
        of_listener(effective, listener, &mut problems);
        let taken = effective.listeners[..index]
            .iter()
            .find(|other| other.overlaps(listener));
        if let Some(other) = taken {
            let place = other
                .at
                .as_ref()
                .map_or_else(String::new, |at| format!(" ({at})"));
            problems.push(Problem {
                kind: ProblemKind::SamePort,
                at: listener.at.clone(),
                stops: true,
                sentence: format!("`{listener}` and `{other}`{place} want the same port"),
            });
        }
    }
    problems
}

fn of_listener(effective: &Effective, listener: &Listener, problems: &mut Vec<Problem>) {
    let version = effective.version;
    let line = |name: &str| -> Option<At> {
        let found = listener.directives.iter().rev();
        let mut found = found.filter(|directive| directive.name == name);
        found
            .next()
            .map(|directive| directive.at.clone())
            .or_else(|| listener.at.clone())
    };
    let mut problem = |kind, at: Option<At>, stops, sentence: String| {
        problems.push(Problem {
            kind,
            at,
            stops,
            sentence,
        });
    };
    let has = |name| listener.text(name).is_some();
    let (certificate, key) = (has("certfile"), has("keyfile"));
    let ca = has("cafile") || has("capath");
    let required = listener.flag("require_certificate");
    let named =
        listener.flag("use_identity_as_username") || listener.flag("use_subject_as_username");
    let anonymous = effective.allows_anonymous(listener);

    if certificate != key {
        let (there, missing) = if certificate {
            ("certfile", "keyfile")
        } else {
            ("keyfile", "certfile")
        };
        let plain = version.opens_half_pairs_in_plaintext();
        let then = if plain {
            "the listener opens in plaintext"
        } else {
            "the broker does not start"
        };
        let sentence = format!("`{there}` without `{missing}`: {then}");
        problem(ProblemKind::HalfPair, line(there), !plain, sentence);
    } else if ca && !certificate && !has("psk_hint") {
        let name = if has("cafile") { "cafile" } else { "capath" };
        let stops = version.is_2_1();
        let then = if stops {
            "the broker does not start"
        } else {
            "the listener opens in plaintext"
        };
        let sentence = format!("`{name}` without `certfile` and `keyfile`: {then}");
        problem(ProblemKind::CaWithoutTls, line(name), stops, sentence);
    }
    if certificate && has("psk_hint") {
        let sentence = "certificate and pre-shared keys on one listener".to_owned();
        problem(
            ProblemKind::TwoKindsOfKeys,
            line("psk_hint"),
            true,
            sentence,
        );
    }
    if required && !listener.is_tls() {
        let sentence = "`require_certificate true` is ignored without `certfile` and `keyfile`: the listener is plaintext";
        problem(
            ProblemKind::RequireWithoutTls,
            line("require_certificate"),
            false,
            sentence.to_owned(),
        );
    } else if required && !ca && !has("psk_hint") {
        let sentence =
            "`require_certificate true` without `cafile` or `capath`: every client is refused";
        problem(
            ProblemKind::NobodyTrusted,
            line("require_certificate"),
            false,
            sentence.to_owned(),
        );
    }
    if listener.is_tls() && named && !required && !has("psk_hint") {
        let sentence = "an identity as user name without `require_certificate true`: every client is refused, code 4";
        let name = if listener.flag("use_identity_as_username") {
            "use_identity_as_username"
        } else {
            "use_subject_as_username"
        };
        problem(
            ProblemKind::IdentityWithoutRequire,
            line(name),
            false,
            sentence.to_owned(),
        );
    }
    let gives_names = effective.knows_users(listener) || (named && listener.is_tls());
    if !anonymous && !gives_names {
        let sentence = if required && listener.is_tls() {
            "a verified certificate alone is not a user name: without `use_identity_as_username true` every client is refused, code 5"
        } else {
            "anonymous clients are refused and nothing gives a client a user name: every client is refused, code 5"
        };
        problem(
            ProblemKind::NobodyNamed,
            listener.at.clone(),
            false,
            sentence.to_owned(),
        );
    }
    if anonymous
        && !listener.is_tls()
        && !listener.is_loopback()
        && listener.origin != Origin::LocalOnly
    {
        let sentence = format!("`{listener}` lets everyone on the network in, in plaintext");
        problem(ProblemKind::Open, listener.at.clone(), false, sentence);
    }
    if let Some(version) = listener.text("tls_version")
        && !matches!(version, "tlsv1.1" | "tlsv1.2" | "tlsv1.3")
        && listener.is_tls()
    {
        let sentence = format!("`tls_version {version}`: the value is tlsv1.2 or tlsv1.3");
        problem(ProblemKind::BadValue, line("tls_version"), true, sentence);
    }
    if has("bind_interface") && listener.ip().is_some_and(|ip| ip.is_unspecified()) {
        let sentence = "`bind_interface` with a wildcard address: the broker does not start";
        problem(
            ProblemKind::InterfaceAndWildcard,
            line("bind_interface"),
            true,
            sentence.to_owned(),
        );
    }
}
