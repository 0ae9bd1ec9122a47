//! Credentials from files and stdin: what is in them, what they must not be, and the word of warning for keys.

use crate::args::TestKeys;
use crate::cert;
use crate::fault::{Fault, Outcome};
use sectag_modem::credentials::type_name;
use sectag_proto::CredentialType;
use sectag_proto::secret::SecretText;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest content from stdin, a pipe or a device, which do not say how long they are; a modem takes 4096 bytes.
const STREAM_BYTES_MAX: u64 = 64 * 1024;

/// What to write: white space at the end left out, as the usual host tools do, so that digests agree.
pub(super) fn read(path: &Path, kind: CredentialType, keys: TestKeys) -> Outcome<SecretText> {
    let content = to_compare(path)?;
    check_kind(path, kind, content.expose())?;
    if kind == CredentialType::CLIENT_PRIVATE_KEY {
        key_from_file(path, keys)?;
    }
    Ok(content)
}

/// What to compare with: any text.
pub(super) fn to_compare(path: &Path) -> Outcome<SecretText> {
    let bytes = bytes(path)?;
    let text = std::str::from_utf8(&bytes)
        .ok()
        .filter(|text| !text.contains('\0'));
    let Some(text) = text else {
        return Err(Fault::no(format!("`{}` is not text", path.display())).hint(
            "credentials are PEM; DER is converted by `openssl x509 -inform der -in FILE` or `openssl pkey -inform der -in FILE`",
        ));
    };
    let text = text.trim_end();
    if text.is_empty() {
        return Err(Fault::no(format!("`{}` is empty", path.display())));
    }
    Ok(SecretText::new(text.to_owned()))
}

pub(super) fn bytes(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    let (from, name): (Box<dyn Read>, _) = if path == Path::new("-") {
        (Box::new(std::io::stdin()), "stdin".to_owned())
    } else if path.is_file() || path.is_dir() || !path.exists() {
        return cert::bytes_of(path).map(Zeroizing::new);
    } else {
        let unreadable =
            |error| Fault::untried(format!("failed to read `{}`: {error}", path.display()));
        let file = std::fs::File::open(path).map_err(unreadable)?;
        (Box::new(file), format!("`{}`", path.display()))
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(STREAM_BYTES_MAX as usize + 1));
    from.take(STREAM_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > STREAM_BYTES_MAX {
        return Err(Fault::no(format!(
            "{name} has more than {STREAM_BYTES_MAX} bytes; a modem takes 4096"
        )));
    }
    Ok(bytes)
}

/// A key under a certificate's type would be readable by everyone; a certificate under the key's type is useless.
fn check_kind(path: &Path, kind: CredentialType, content: &str) -> Outcome {
    let what = if content.contains("BEGIN ENCRYPTED PRIVATE KEY-----") {
        "an encrypted private key"
    } else if content.contains("PRIVATE KEY-----") {
        "a private key"
    } else if content.contains("-----BEGIN CERTIFICATE REQUEST-----") {
        "a certificate signing request"
    } else if content.contains("-----BEGIN CERTIFICATE-----") {
        "a certificate"
    } else if content.contains("-----BEGIN ") {
        "PEM of another kind"
    } else {
        "no PEM"
    };
    let is_hex = content.len().is_multiple_of(2) && content.bytes().all(|b| b.is_ascii_hexdigit());
    let (right, takes, hint) = match kind {
        CredentialType::ROOT_CA | CredentialType::CLIENT_CERTIFICATE => (
            what == "a certificate",
            "certificates in PEM",
            match what {
                "a private key" => "a private key is CLIENT_KEY (2)",
                "a certificate signing request" => "a CA makes a certificate of it first",
                _ => {
                    "they begin with -----BEGIN CERTIFICATE-----; DER is converted by `openssl x509 -inform der`"
                }
            },
        ),
        CredentialType::CLIENT_PRIVATE_KEY => (
            what == "a private key",
            "a private key in PEM without a password",
            match what {
                "an encrypted private key" => "`openssl pkey -in FILE` takes the password off",
                _ => "it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----",
            },
        ),
        CredentialType::PSK => (
            is_hex,
            "an even number of hexadecimal digits",
            "`openssl rand -hex 32` makes one",
        ),
        CredentialType::PSK_IDENTITY => (
            what == "no PEM",
            "a short text",
            "the identity is the name that the server knows the PSK by",
        ),
        _ => return Ok(()),
    };
    if right {
        return Ok(());
    }
    let what = if kind == CredentialType::PSK && what == "no PEM" {
        "something else"
    } else {
        what
    };
    Err(Fault::no(format!(
        "`{}` holds {what}, but {} ({}) takes {takes}",
        path.display(),
        type_name(kind),
        kind.0
    ))
    .hint(hint))
}

/// The warning of source row P7.
fn key_from_file(path: &Path, keys: TestKeys) -> Outcome {
    let hint = "let the modem make its key, which then never leaves it: `sectag creds keygen TAG`";
    if keys.no_test_keys {
        return Err(Fault::no(format!(
            "`{}` holds a private key, and --no-test-keys refuses keys from files",
            path.display()
        ))
        .hint(hint));
    }
    eprintln!(
        "warning: run-time provisioning of a private key is for tests only: a private key in a file or in flash is exposed to whoever can read it; {hint}"
    );
    Ok(())
}
