//! What certificates break together: order, links, lengths of paths, size; and what webpki itself has to say.

use super::look::{Look, Position};
use super::{Answer, Context, Finding, MODEM_CHAIN_BYTES_MAX, Verifier, certificate, chain, rule};

/// Everything that is wrong with the certificates as a chain.
pub(crate) fn check(looks: &[Look<'_>], context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |id: &str, certificate: Option<usize>, facts: String| {
        findings.push(Finding {
            rule: rule(id),
            certificate,
            facts,
        });
    };
    for (at, look) in looks.iter().enumerate() {
        if let Some(first) = looks[..at].iter().position(|other| other.der == look.der) {
            add("duplicate", Some(at), format!("the same as number {first}"));
        }
    }
    let Some(leaf) = looks.first() else {
        return findings;
    };
    if leaf.position != Position::EndEntity {
        let end_entity = looks
            .iter()
            .position(|look| !look.facts.is_ca && !look.is_self_issued());
        if let Some(at) = end_entity {
            add(
                "leaf-not-first",
                Some(at),
                format!(
                    "number {at} is the end entity, and number 0 is {}",
                    leaf.subject()
                ),
            );
        }
        return findings; // authorities side by side: a file of roots
    }
    let bytes: usize = looks.iter().map(|look| look.der.len()).sum();
    if bytes > MODEM_CHAIN_BYTES_MAX {
        let certificates = if looks.len() == 1 {
            "certificate"
        } else {
            "certificates"
        };
        add(
            "over-4-kb",
            None,
            format!("{} {certificates}, {bytes} bytes in DER", looks.len()),
        );
    }
    for (at, look) in looks.iter().enumerate().skip(1) {
        if look.position == Position::Root {
            add("root-sent", Some(at), look.subject().to_owned());
        }
    }
    order(looks, &mut add);
    let end = links(looks, context, &mut add);
    if let Some(root) = end {
        for (rule, facts) in certificate::check(&root, context) {
            findings.push(Finding {
                rule,
                certificate: None,
                facts: format!("root {}: {facts}", root.subject()),
            });
        }
    }
    findings
}

/// Each certificate is followed by its issuer (RFC 5246 §7.4.2).
fn order(looks: &[Look<'_>], add: &mut impl FnMut(&str, Option<usize>, String)) {
    for at in 0..looks.len().saturating_sub(1) {
        let (look, next) = (&looks[at], &looks[at + 1]);
        let self_signed = look.is_self_issued() && look.position != Position::EndEntity;
        if look.names_issuer(next) || self_signed || looks[..=at].iter().any(|l| l.der == next.der)
        {
            continue;
        }
        let issuer = looks.iter().position(|other| look.names_issuer(other));
        match issuer {
            Some(issuer) if issuer != at => add(
                "order",
                Some(at),
                format!(
                    "its issuer is number {issuer}, and number {} follows",
                    at + 1
                ),
            ),
            _ if looks[..at].iter().any(|below| below.names_issuer(next)) => {}
            _ => add(
                "unrelated",
                Some(at + 1),
                format!(
                    "{} stands where {} would belong",
                    next.subject(),
                    look.facts.issuer
                ),
            ),
        }
    }
}

/// From the end entity upwards: signatures, key identifiers, path lengths, and where it ends. Gives the root when it is
/// none of those sent.
fn links<'a>(
    looks: &[Look<'_>],
    context: &Context<'a>,
    add: &mut impl FnMut(&str, Option<usize>, String),
) -> Option<Look<'a>> {
    let mut at = 0;
    let mut below = 0; // authorities between the end entity and the one that is looked at
    let mut seen = vec![0];
    loop {
        let look = &looks[at];
        if look.is_self_issued() && look.signed_by(look) != Some(false) {
            return None;
        }
        let stored = || context.roots.iter().filter_map(|der| Look::new(der).ok());
        let candidates: Vec<usize> = (0..looks.len())
            .filter(|other| !seen.contains(other) && look.names_issuer(&looks[*other]))
            .collect();
        let good = candidates
            .iter()
            .find(|i| look.signed_by(&looks[**i]) != Some(false));
        let Some(issuer) = good.or(candidates.first()).copied() else {
            let root = stored()
                .find(|root| look.is_issued_by(root))
                .or_else(|| stored().find(|root| at > 0 && look.is_same_authority(root)));
            match &root {
                Some(root) => step(look, at, root, None, below, add),
                None => add("issuer-not-here", Some(at), look.facts.issuer.clone()),
            }
            return root;
        };
        let authority = &looks[issuer];
        if good.is_none() {
            add(
                "bad-signature",
                Some(at),
                format!(
                    "{} has the issuer's name, and its key did not sign this",
                    authority.subject()
                ),
            );
        }
        step(look, at, authority, Some(issuer), below, add);
        if !authority.is_self_issued() {
            below += 1;
        }
        seen.push(issuer);
        at = issuer;
    }
}

/// One step from a certificate to its issuer, which is number `issuer` or a root that was not sent.
fn step(
    look: &Look<'_>,
    at: usize,
    authority: &Look<'_>,
    issuer: Option<usize>,
    below: usize,
    add: &mut impl FnMut(&str, Option<usize>, String),
) {
    let (asked, has) = (
        &look.facts.authority_key_id,
        &authority.facts.subject_key_id,
    );
    if let (Some(asked), Some(has)) = (asked, has)
        && asked != has
    {
        add(
            "aki-mismatch",
            Some(at),
            format!("it asks for {asked}, and {} is {has}", authority.subject()),
        );
    }
    if let Some(length) = authority.facts.path_length
        && (length as usize) < below
    {
        let id = match authority.position {
            Position::Root => "path-length-root",
            _ => "path-length",
        };
        let stand = if below == 1 {
            "authority stands"
        } else {
            "authorities stand"
        };
        add(
            id,
            issuer,
            format!(
                "{} has path length {length}, and {below} {stand} below it",
                authority.subject()
            ),
        );
    }
}

/// What webpki refuses although no rule above foresaw it, so that nothing is passed in silence.
pub(crate) fn what_webpki_adds(
    looks: &[Look<'_>],
    context: &Context<'_>,
    findings: &[Finding],
) -> Option<Finding> {
    let leaf = looks
        .first()
        .filter(|l| l.position == Position::EndEntity)?;
    let foreseen = |finding: &Finding| {
        let answer = finding.rule.cell(Verifier::Rustls).answer;
        answer == Answer::Refuses || finding.rule.id == "issuer-not-here"
    };
    if findings.iter().any(foreseen) {
        return None;
    }
    let own = looks
        .iter()
        .filter(|look| look.is_self_issued())
        .map(|look| look.der.to_vec());
    let anchors: Vec<Vec<u8>> = context.roots.iter().cloned().chain(own).collect();
    let between: Vec<&[u8]> = looks.iter().skip(1).map(|look| look.der).collect();
    let refused = chain::webpki_says(
        leaf.der,
        &between,
        &anchors,
        leaf.purpose,
        context.name,
        context.now_s,
    )
    .err()?;
    Some(Finding {
        rule: rule("rustls-other"),
        certificate: Some(0),
        facts: chain::words(&refused),
    })
}
