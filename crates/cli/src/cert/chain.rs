//! `sectag cert chain`: what a server sends, which root it ends in, and how that root gets under a sec tag.

mod show;

use super::{file, lint};
use crate::args::Chain;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::modem_choice;
use crate::output;
use sectag_device::chain::{self as fetching, FetchError, Fetched, Server};
use sectag_modem::credentials::{AtStore, CredentialStore, StoreError, Written};
use sectag_pki::ServerName;
use sectag_pki::lint::chain::{Judgement, Link, Root, judge};
use sectag_pki::lint::{Answer, Verifier};
use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) async fn chain(place: &Place, arguments: &Chain, as_json: bool) -> Outcome {
    let asked = arguments.server_name.as_deref();
    let name = lint::server_name(asked.unwrap_or(&arguments.server.host))?;
    let fingerprint = arguments
        .fingerprint
        .as_deref()
        .map(fingerprint)
        .transpose()?;
    let roots = roots(arguments)?;
    let fetched = fetching::fetch(&Server {
        host: arguments.server.host.clone(),
        port: arguments.server.port,
        server_name: arguments.server_name.clone(),
        alpn: arguments.alpn.clone(),
        timeout: Duration::from_secs(arguments.timeout),
    })
    .await
    .map_err(|error| no_chain(error, arguments.server.port))?;
    let judgement = judge_with(&fetched, &roots, &name)?;
    let chosen = choose(arguments, &judgement)?.cloned();
    // A fingerprint from the operator is trust: the chain is judged again under the certificate that has it.
    let (judgement, pinned) = match (&chosen, &fingerprint) {
        (Some(link), Some(fingerprint)) if link.facts.fingerprint_sha256 == *fingerprint => {
            let mut roots = roots;
            roots.push(link.der.clone());
            (judge_with(&fetched, &roots, &name)?, true)
        }
        _ => (judgement, false),
    };
    let only_pem = arguments.output.as_deref() == Some(Path::new("-"));
    if as_json {
        output::json(&show::value(&fetched, &judgement, chosen.as_ref(), &name));
    } else if !only_pem {
        show::print(&fetched, &judgement, arguments.showcerts, &name);
    }
    if let (Some(link), Some(fingerprint)) = (&chosen, &fingerprint)
        && !pinned
    {
        return Err(Fault::no(format!(
            "the certificate of `{}` is another than the one you were told of: its SHA-256 is {}, and you gave {fingerprint}",
            link.facts.subject, link.facts.fingerprint_sha256
        ))
        .hint("ask the operator again, over another way than this network"));
    }
    let wanted = arguments.output.is_some() || arguments.to_tag.is_some();
    if wanted || fingerprint.is_some() {
        let link = chosen.as_ref().ok_or_else(|| missing(&judgement))?;
        if let Some(path) = &arguments.output
            && !(only_pem && as_json)
        {
            let pem = sectag_pki::pem::encode("CERTIFICATE", &link.der);
            file::write(path, pem.as_bytes(), false)?;
            if !pinned && judgement.verified.is_err() {
                eprintln!(
                    "compare its SHA-256 with the operator's before you trust it: {}",
                    link.facts.fingerprint_sha256
                );
            }
        }
        if let Some(tag) = arguments.to_tag {
            to_tag(place, arguments, tag, link, pinned)?;
        }
    }
    match &judgement.verified {
        // Whoever takes a root on trust has answered the question.
        Err(_) if wanted && !pinned => Ok(()),
        Err(reason) => Err(not_verified(reason, &judgement)),
        Ok(()) => Ok(()),
    }
}

fn judge_with(fetched: &Fetched, roots: &[Vec<u8>], name: &ServerName) -> Outcome<Judgement> {
    judge(&fetched.chain, roots, name, super::now_s()).map_err(|error| {
        Fault::no(format!(
            "a certificate that was sent cannot be read: {error}"
        ))
    })
}

/// The certificate to put under a tag: the root, or the intermediate that was asked for by name.
fn choose<'a>(arguments: &Chain, judgement: &'a Judgement) -> Outcome<Option<&'a Link>> {
    let Some(wanted) = &arguments.intermediate else {
        return Ok(judgement.root_link());
    };
    let authorities = || judgement.links.iter().filter(|link| link.facts.is_ca);
    let cn = |link: &Link| common_name(&link.facts.subject).to_owned();
    let Some(link) =
        authorities().find(|link| cn(link) == *wanted || link.facts.subject == *wanted)
    else {
        let names: Vec<String> = authorities().map(cn).collect();
        let hint = match names.len() {
            0 => "the server sent no authority".to_owned(),
            _ => format!("the server sent these: {}", names.join(", ")),
        };
        return Err(Fault::no(format!("the chain has no authority called `{wanted}`")).hint(hint));
    };
    eprintln!(
        "warning: `{wanted}` is an intermediate and may change at any renewal of the server; a device that trusts only it is then lost"
    );
    Ok(Some(link))
}

/// `CN=a,O=b` → `a`
fn common_name(subject: &str) -> &str {
    subject
        .split(',')
        .find_map(|part| part.strip_prefix("CN="))
        .unwrap_or(subject)
}

/// Hexadecimal digits in any usual writing: with colons, blanks, capitals.
fn fingerprint(text: &str) -> Outcome<String> {
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    let digits: String = bare
        .chars()
        .filter(|c| !matches!(c, ':' | ' ' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(digits);
    }
    let hint = match digits.len() {
        40 => "that is SHA-1; `openssl x509 -fingerprint -sha256 -noout -in FILE` prints SHA-256",
        _ => "64 hexadecimal digits, with or without colons",
    };
    Err(Fault::untried(format!("`{text}` is no SHA-256 fingerprint")).hint(hint))
}

/// The system's store and what was given beside it.
fn roots(arguments: &Chain) -> Outcome<Vec<Vec<u8>>> {
    let mut roots = match &arguments.roots {
        Some(path) => file::roots_of(path)?,
        None => Vec::new(),
    };
    if !arguments.no_system_roots {
        roots.extend(system_roots());
    }
    Ok(roots)
}

/// Where distributions keep their roots, as one file; the environment's choice first, as OpenSSL has it.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn system_roots() -> Vec<Vec<u8>> {
    let own = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let places = own
        .map(PathBuf::from)
        .into_iter()
        .chain(SYSTEM_ROOTS.map(PathBuf::from));
    for path in places {
        if let Ok(roots) = file::roots_of(&path) {
            return roots;
        }
    }
    Vec::new()
}

/// Writes one certificate as root CA under a tag, after its fingerprint was compared, waved through, or confirmed.
fn to_tag(place: &Place, arguments: &Chain, tag: SecTag, link: &Link, pinned: bool) -> Outcome {
    let facts = &link.facts;
    let (subject, sha256) = (&facts.subject, &facts.fingerprint_sha256);
    if !pinned && !arguments.yes {
        let question = format!(
            "write {subject} with SHA-256 {sha256} under sec tag {tag} of {}?",
            arguments.modem
        );
        if !confirmed(&question) {
            return Err(Fault::no(format!("nothing was written under sec tag {tag}")).hint(format!(
                "ask the operator for the fingerprint, compare it with {sha256}, and give it with --fingerprint; or add --yes"
            )));
        }
    }
    let pem = sectag_pki::pem::encode("CERTIFICATE", &link.der);
    let content = SecretText::new(pem.trim_end().to_owned());
    let written = tokio::task::block_in_place(|| write_tag(place, arguments, tag, &content))?;
    let word = match written {
        Written::New => "wrote",
        Written::Replaced => "replaced the root CA by",
        Written::Unchanged => "unchanged:",
    };
    eprintln!(
        "{word} {subject}, SHA-256 {sha256}, under sec tag {tag} of {}",
        arguments.modem
    );
    Ok(())
}

fn write_tag(
    place: &Place,
    arguments: &Chain,
    tag: SecTag,
    content: &SecretText,
) -> Outcome<Written> {
    let kind = CredentialType::ROOT_CA;
    if let Some(mut files) = modem_choice::files(place, &arguments.modem)? {
        let written = files.write_if_different(tag, kind, content);
        return written.map_err(modem_choice::store_fault);
    }
    let mut opened = modem_choice::open(place, &arguments.modem, &arguments.which)?;
    let mut store = AtStore::new(&mut *opened.modem);
    store
        .offline(|store| store.write_if_different(tag, kind, content))
        .map_err(|error: StoreError| modem_choice::store_fault(error))
}

/// Asks on a terminal; without one the answer is no.
fn confirmed(question: &str) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn missing(judgement: &Judgement) -> Fault {
    let Root::Missing { issuer } = &judgement.root else {
        return Fault::no("the chain has no root");
    };
    Fault::no(format!(
        "the root is missing: `{issuer}` was not sent and is in no store"
    ))
    .hint(
        "ask the operator for the root and give it with --roots FILE; --intermediate NAME takes one of the certificates sent, which may change at any renewal",
    )
}

fn not_verified(reason: &str, judgement: &Judgement) -> Fault {
    let fault = Fault::no(format!("the chain is not trusted: {reason}"));
    // What trust in the root would not repair comes first.
    let broken = judgement
        .findings
        .iter()
        .find(|finding| finding.rule.cell(Verifier::Rustls).answer == Answer::Refuses);
    if let Some(finding) = broken {
        return fault.hint(finding.rule.fix);
    }
    match &judgement.root {
        Root::Sent { link, known: false } => fault.hint(format!(
            "the root is private; ask the operator for its SHA-256, compare it with {}, and give it with --fingerprint",
            judgement.links[*link].facts.fingerprint_sha256
        )),
        Root::Missing { .. } => {
            fault.hint("ask the operator for the root and give it with --roots FILE")
        }
        _ => fault,
    }
}

fn no_chain(error: FetchError, port: u16) -> Fault {
    let hint = match (&error, port) {
        (
            FetchError::NotTls { .. } | FetchError::Closed { .. } | FetchError::Timeout { .. },
            1883,
        ) => Some("1883 is MQTT without TLS; with TLS it is 8883 as a rule"),
        (FetchError::NotTls { .. }, _) => {
            Some("give the port that begins with TLS at once; STARTTLS is not spoken")
        }
        (FetchError::Closed { .. }, _) => Some(
            "does it speak TLS on this port? some servers also hang up on a name they do not know: --server-name",
        ),
        (FetchError::Connect { .. }, _) => {
            Some("does it run, on this port, and may you reach it from here?")
        }
        (FetchError::Resolve { .. }, _) => Some("is the host name spelled right?"),
        (FetchError::Handshake { .. }, _) => {
            Some("it may want another --server-name, or speak only TLS older than 1.2")
        }
        _ => None,
    };
    let fault = match error {
        FetchError::NotTls { .. } | FetchError::Closed { .. } | FetchError::Handshake { .. } => {
            Fault::no_because(error)
        }
        other => Fault::from(other),
    };
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_every_usual_writing() {
        let plain = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        for text in [&plain, &colons, &format!("sha256:{plain}")] {
            assert_eq!(fingerprint(text).unwrap(), plain);
        }
        assert!(
            fingerprint(&"ab".repeat(20))
                .unwrap_err()
                .text()
                .contains("SHA-1")
        );
        assert!(fingerprint("").is_err());
    }

    #[test]
    fn a_common_name_is_found_in_a_subject() {
        assert_eq!(common_name("CN=R3,O=Let's Encrypt,C=US"), "R3");
        assert_eq!(common_name("O=x"), "O=x");
    }
}
