//! Credentials from files and stdin: what is in them, what they must not be, and the word of warning for keys.

use crate::args::TestKeys;
use crate::cert;
use crate::fault::{Fault, Outcome};
use sectag_modem::credentials::type_name;
use sectag_proto::CredentialType;
use sectag_proto::secret::SecretText;
use std::io::Read as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest content from stdin; a modem takes 4096 bytes.
const STDIN_BYTES_MAX: u64 = 64 * 1024;

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

fn bytes(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    if path != Path::new("-") {
        return cert::bytes_of(path).map(Zeroizing::new);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(STDIN_BYTES_MAX as usize + 1));
    std::io::stdin()
        .take(STDIN_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        return Err(Fault::no(format!(
            "stdin has more than {STDIN_BYTES_MAX} bytes; a modem takes 4096"
        )));
    }
    Ok(bytes)
}

/// A key under a certificate's type would be readable by everyone; a certificate under the key's type is useless.
fn check_kind(path: &Path, kind: CredentialType, content: &str) -> Outcome {
    let key = content.contains("PRIVATE KEY-----");
    let certificate = content.contains("-----BEGIN CERTIFICATE-----");
    let request = content.contains("-----BEGIN CERTIFICATE REQUEST-----");
    let refuse = |what: &str, hint: &str| {
        Err(Fault::no(format!(
            "`{}` holds {what}, which is no {} ({})",
            path.display(),
            type_name(kind),
            kind.0
        ))
        .hint(hint))
    };
    match kind {
        CredentialType::ROOT_CA | CredentialType::CLIENT_CERTIFICATE if key => {
            refuse("a private key", "a private key is CLIENT_KEY (2)")
        }
        CredentialType::ROOT_CA | CredentialType::CLIENT_CERTIFICATE if request => refuse(
            "a certificate signing request",
            "a CA makes a certificate of it first",
        ),
        CredentialType::ROOT_CA | CredentialType::CLIENT_CERTIFICATE if !certificate => refuse(
            "no certificate in PEM",
            "a PEM file begins with -----BEGIN CERTIFICATE-----; DER is converted by `openssl x509 -inform der`",
        ),
        CredentialType::CLIENT_PRIVATE_KEY if !key => refuse(
            if certificate {
                "a certificate"
            } else {
                "no private key in PEM"
            },
            "a private key begins with -----BEGIN PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----",
        ),
        CredentialType::PSK | CredentialType::PSK_IDENTITY if key || certificate => refuse(
            "PEM",
            "a PSK is hexadecimal digits, its identity is a short text",
        ),
        _ => Ok(()),
    }
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
