//! How long a certificate is still valid, in upstream's words, and whether it is due.

use sectag_pki::CertificateFacts;

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 60 * MINUTE_S;
const DAY_S: u64 = 24 * HOUR_S;
const YEAR_S: u64 = 365 * DAY_S;

/// Where a certificate stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validity {
    /// For so many seconds.
    Valid(u64),
    /// The same, and that is not more than is asked for.
    EndsSoon(u64),
    /// Since so many seconds.
    Expired(u64),
    /// For so many seconds.
    NotYet(u64),
}

impl Validity {
    pub(super) fn of(facts: &CertificateFacts, minimum_s: u64, now_s: u64) -> Self {
        if now_s < facts.not_before_s {
            Self::NotYet(facts.not_before_s - now_s)
        } else if now_s > facts.not_after_s {
            Self::Expired(now_s - facts.not_after_s)
        } else {
            match facts.not_after_s - now_s {
                left if left > minimum_s => Self::Valid(left),
                left => Self::EndsSoon(left),
            }
        }
    }

    /// Must it be renewed? What is not valid yet counts as fine (spec/gateway-config §12).
    pub(super) const fn is_due(self) -> bool {
        matches!(self, Self::EndsSoon(_) | Self::Expired(_))
    }

    /// `VALID (expires in: 363d 23h 59m 59s)`
    pub(super) fn words(self) -> String {
        match self {
            Self::Valid(left) => format!("VALID (expires in: {})", span(left)),
            Self::EndsSoon(left) => format!("EXPIRES SOON (expires in: {})", span(left)),
            Self::Expired(ago) => format!("EXPIRED (since: {})", span(ago)),
            Self::NotYet(wait) => format!("NOT VALID YET (will be in: {})", span(wait)),
        }
    }
}

/// Years of 365 days, days, hours, minutes, seconds; what is zero is left out.
fn span(seconds: u64) -> String {
    let parts = [
        (seconds / YEAR_S, "y"),
        (seconds % YEAR_S / DAY_S, "d"),
        (seconds % DAY_S / HOUR_S, "h"),
        (seconds % HOUR_S / MINUTE_S, "m"),
        (seconds % MINUTE_S, "s"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    match &parts[..] {
        [] => "0s".to_owned(),
        parts => parts.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn a_span_leaves_out_what_is_zero() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (86_441, "1d 41s"),
            (364 * 86_400 - 1, "363d 23h 59m 59s"),
            (5 * 365 * 86_400 + 219 * 86_400 + 10_740, "5y 219d 2h 59m"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
