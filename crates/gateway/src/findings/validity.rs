//! Time: what has expired, is due, or is not valid yet (E20).

use std::path::{Path, PathBuf};

use sectag_pki::material::{Held, RevocationFacts};

use super::words::{moment, shell, subject};
use super::{Finding, FindingId, Found, Severity};
use crate::facts::{Facts, Trusted};
use crate::settings::{Client, External};

const DAY_S: u64 = 86_400;

pub(super) fn listener(external: &External, minimum_s: u64, facts: &Facts, found: &mut Found) {
    let watch = Watch {
        now_s: facts.machine.now_s,
        minimum_s,
    };
    watch.chain(
        "mqtt.external.cert_file",
        external.cert_file.as_ref(),
        facts,
        found,
    );
    let system = |path: &PathBuf| facts.at(path).is_some_and(|at| at.is_system_store);
    if !external.ca_path.as_ref().is_some_and(system) {
        watch.trusted(
            |_| "mqtt.external.ca_path",
            &facts.trusted_by_broker(external),
            found,
        );
    }
    if let Some(path) = &external.crl_file {
        for list in facts.revocations(Some(path)) {
            watch.list("mqtt.external.crl_file", path, list, found);
        }
    }
}

pub(super) fn client(client: &Client, minimum_s: u64, facts: &Facts, found: &mut Found) {
    let watch = Watch {
        now_s: facts.machine.now_s,
        minimum_s,
    };
    watch.chain(
        "mqtt.client.auth.cert_file",
        client.cert_file.as_ref(),
        facts,
        found,
    );
    let system = |path: &PathBuf| facts.at(path).is_some_and(|at| at.is_system_store);
    let key = |from: &Path| match client.ca_file.as_deref() {
        Some(file) if file == from => "mqtt.client.auth.ca_file",
        _ => "mqtt.client.auth.ca_dir",
    };
    let paths = [&client.ca_file, &client.ca_dir];
    if !paths.into_iter().flatten().any(system) {
        watch.trusted(key, &facts.trusted_by_client(client), found);
    }
}

struct Watch {
    now_s: u64,
    minimum_s: u64,
}

/// What is to be said about a time span.
enum Due {
    NotYet,
    Expired,
    Soon(u64),
}

impl Watch {
    /// A certificate that is shown to others, and the authorities sent with it.
    fn chain(&self, key: &str, path: Option<&PathBuf>, facts: &Facts, found: &mut Found) {
        let Some(path) = path else { return };
        for held in facts.chain(Some(path)) {
            if let Some(due) = self.due(held) {
                let severity = match due {
                    Due::Soon(_) => Severity::Warn,
                    Due::NotYet | Due::Expired => Severity::Error,
                };
                found.add(self.finding(key, path, held, &due, severity));
            }
        }
    }

    /// Authorities: one that has expired is an error when it was the last.
    fn trusted(
        &self,
        key: impl Fn(&Path) -> &'static str,
        trusted: &[Trusted<'_>],
        found: &mut Found,
    ) {
        let dead = |one: &Trusted<'_>| !matches!(self.due(one.held), None | Some(Due::Soon(_)));
        let severity = match trusted.iter().all(dead) {
            true => Severity::Error,
            false => Severity::Warn,
        };
        for one in trusted {
            if let Some(due) = self.due(one.held) {
                let severity = match due {
                    Due::Soon(_) => Severity::Warn,
                    Due::NotYet | Due::Expired => severity,
                };
                found.add(self.finding(key(one.from), one.from, one.held, &due, severity));
            }
        }
    }

    fn due(&self, held: &Held) -> Option<Due> {
        let (begin, end) = (held.facts.not_before_s, held.facts.not_after_s);
        if self.now_s < begin {
            return Some(Due::NotYet);
        }
        match end.checked_sub(self.now_s) {
            None => Some(Due::Expired),
            Some(left) if left < self.minimum_s => Some(Due::Soon(left)),
            Some(_) => None,
        }
    }

    fn finding(
        &self,
        key: &str,
        path: &Path,
        held: &Held,
        due: &Due,
        severity: Severity,
    ) -> Finding {
        let what = format!("the certificate of {} in {}", subject(held), path.display());
        let end = moment(held.facts.not_after_s);
        let sentence = match due {
            Due::NotYet => format!(
                "{what} is valid from {} on, and the clock says {}",
                moment(held.facts.not_before_s),
                moment(self.now_s)
            ),
            Due::Expired => format!(
                "{what} expired: it was valid until {end}, and the clock says {}",
                moment(self.now_s)
            ),
            Due::Soon(left) => format!(
                "{what} expires in {}, which is less than {} (certificate.validity.minimum_duration)",
                span(*left),
                span(self.minimum_s)
            ),
        };
        let fix = match (due, held.facts.is_ca) {
            (Due::NotYet, _) => "date -u".to_owned(),
            (_, true) => format!("sectag config set {key} <newer CA>"),
            (_, false) => "sectag cert renew --all --due".to_owned(),
        };
        Finding::new(FindingId::E20, severity, sentence)
            .value(key, path.display())
            .value("valid until", end)
            .value("clock", moment(self.now_s))
            .fix(&[fix])
    }

    /// A list after its time: OpenSSL refuses every client of its issuer.
    fn list(&self, key: &str, path: &Path, list: &RevocationFacts, found: &mut Found) {
        let Some(next) = list.next_update_s else {
            return;
        };
        let (severity, sentence) = match next.checked_sub(self.now_s) {
            None => (
                Severity::Error,
                format!(
                    "the revocation list of {} in {} expired: the next one was due {}, and every client of this CA is refused",
                    list.issuer,
                    path.display(),
                    moment(next)
                ),
            ),
            // Lists may live for days only: the last third is time to make the next one.
            Some(left)
                if left
                    < self
                        .minimum_s
                        .min(next.saturating_sub(list.this_update_s) / 3) =>
            {
                (
                    Severity::Warn,
                    format!(
                        "the revocation list of {} in {} expires in {}",
                        list.issuer,
                        path.display(),
                        span(left)
                    ),
                )
            }
            Some(_) => return,
        };
        found.add(
            Finding::new(FindingId::E20, severity, sentence)
                .value(key, path.display())
                .value("next update", moment(next))
                .value("clock", moment(self.now_s))
                .fix(&[format!("sectag cert crl --refresh -o {}", shell(path))]),
        );
    }
}

/// `3 days`, `7 hours`.
fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        DAY_S.. => (seconds / DAY_S, "day"),
        3600.. => (seconds / 3600, "hour"),
        _ => (seconds / 60, "minute"),
    };
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{s}")
}
