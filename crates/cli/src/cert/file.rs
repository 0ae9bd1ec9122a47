//! Files with certificates and keys: what is in them, and how results are written.

use crate::fault::{Fault, Outcome};
use sectag_pki::{PkiError, lint};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest certificate file read: a bundle of a few hundred roots.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a file holds, by its first section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A certificate that may sign others, or that is its own issuer.
    Authority,
    /// Any other certificate.
    Certificate,
    /// A private key.
    PrivateKey,
}

/// A file as PEM, whatever it was.
pub(super) struct Credential {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// Zeroized on drop: it may be a key.
    pub(super) pem: Zeroizing<Vec<u8>>,
}

/// Reads a certificate or a private key. DER becomes PEM, and that is said.
pub(super) fn credential(path: &Path) -> Outcome<Credential> {
    let bytes = Zeroizing::new(bytes_of(path)?);
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    let is_key = text.contains("PRIVATE KEY-----");
    if is_key && !text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(Credential {
            path: path.to_owned(),
            kind: Kind::PrivateKey,
            pem: bytes,
        });
    }
    let certificates = certificates_of(path, &bytes)?;
    if is_key {
        return Err(Fault::no(format!(
            "`{}` holds a certificate and a private key",
            path.display()
        ))
        .hint("put them into two files; a sec tag keeps them as two entries"));
    }
    let facts = sectag_pki::show(&certificates[0]).map_err(|e| unreadable(path, &e))?;
    let kind = if facts.is_ca || facts.subject == facts.issuer {
        Kind::Authority
    } else {
        Kind::Certificate
    };
    let is_pem = text.contains("-----BEGIN ");
    let pem = if is_pem {
        bytes
    } else {
        eprintln!("`{}` is DER; its PEM form is written", path.display());
        Zeroizing::new(sectag_pki::pem::encode("CERTIFICATE", &certificates[0]).into_bytes())
    };
    Ok(Credential {
        path: path.to_owned(),
        kind,
        pem,
    })
}

/// The certificates of a file, PEM or DER, at least one.
pub(crate) fn certificates_of(path: &Path, bytes: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    let text = String::from_utf8_lossy(bytes);
    if bytes.first() == Some(&0x30) && sectag_pki::show(bytes).is_ok() {
        return Ok(vec![bytes.to_vec()]);
    }
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        let holds = |what: &str| Fault::no(format!("`{}` holds {what}", path.display()));
        let label = text
            .split_once("-----BEGIN ")
            .and_then(|(_, rest)| rest.split_once("-----"))
            .map_or("", |(label, _)| label);
        return Err(match label {
            _ if text.contains("PRIVATE KEY-----") => holds("a private key, not a certificate")
                .hint("the certificate lies beside it, in the file that ends in .crt"),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                holds("a request for a certificate, not a certificate")
                    .hint("give what the CA made of it")
            }
            "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => {
                holds(&format!("a section called {label}, which only OpenSSL reads"))
                    .hint("write it again: `openssl x509 -in FILE`")
            }
            "PKCS7" | "CMS" => holds("a PKCS #7 bundle, not certificates in PEM")
                .hint("take it apart: `openssl pkcs7 -print_certs -in FILE`"),
            "" if is_pkcs12(bytes) => holds("a PKCS #12 store, not certificates in PEM")
                .hint("take it apart: `openssl pkcs12 -nokeys -in FILE`"),
            "PUBLIC KEY" => holds("a public key, not a certificate"),
            _ => holds("no certificate in PEM").hint(
                "a PEM file begins with -----BEGIN CERTIFICATE-----; DER is converted by `openssl x509 -inform der`",
            ),
        });
    }
    let contents = lint::contents(bytes).map_err(|e| unreadable(path, &e))?;
    Ok(contents.certificates)
}

/// DER that begins with the object identifier of PKCS #7 data, as PKCS #12 does (RFC 7292 §4).
fn is_pkcs12(bytes: &[u8]) -> bool {
    const DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    let begin = &bytes[..bytes.len().min(40)];
    begin.first() == Some(&0x30) && begin.windows(DATA.len()).any(|window| window == DATA)
}

pub(super) fn unreadable(path: &Path, error: &PkiError) -> Fault {
    Fault::no(format!(
        "`{}` holds a certificate that cannot be read: {error}",
        path.display()
    ))
    .hint("was the text cut short, or changed?")
}

/// Reads a file of at most [`FILE_BYTES_MAX`].
pub(crate) fn bytes_of(path: &Path) -> Outcome<Vec<u8>> {
    let unreadable =
        |why: String| Fault::untried(format!("failed to read `{}`: {why}", path.display()));
    let found = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if found.is_dir() {
        return Err(unreadable("it is a directory".to_owned()).hint("give a file in it"));
    }
    if found.len() > FILE_BYTES_MAX {
        let size = found.len();
        return Err(unreadable(format!("{size} bytes, limit {FILE_BYTES_MAX}")));
    }
    // Pipes and devices do not say how long they are.
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!("more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Certificates of a PEM file, or of every file in a directory that holds some.
pub(super) fn roots_of(path: &Path) -> Outcome<Vec<Vec<u8>>> {
    if !path.is_dir() {
        return certificates_of(path, &bytes_of(path)?);
    }
    let mut names: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(|e| Fault::untried(format!("failed to read `{}`: {e}", path.display())))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .collect();
    names.sort();
    let mut roots: Vec<Vec<u8>> = Vec::new();
    for name in names {
        let found = bytes_of(&name)
            .ok()
            .and_then(|bytes| lint::contents(&bytes).ok());
        for der in found.into_iter().flat_map(|contents| contents.certificates) {
            if !roots.contains(&der) {
                roots.push(der);
            }
        }
    }
    if roots.is_empty() {
        return Err(Fault::no(format!(
            "no file in `{}` holds a certificate",
            path.display()
        )));
    }
    Ok(roots)
}

/// What must be said, or refused, when a private key is taken from a file (P7 of the source pages).
pub(super) fn private_key(
    path: &Path,
    allowed: bool,
    never: bool,
    flag: &str,
    place: &str,
) -> Outcome {
    let path = path.display();
    if never {
        return Err(Fault::no(format!(
            "`{path}` holds a private key, and --no-test-keys forbids it"
        ))
        .hint("make the key where it stays: `AT%KEYGEN`, `sectag creds keygen`"));
    }
    if !allowed {
        return Err(Fault::no(format!("`{path}` holds a private key; it is not written into {place} unasked")).hint(
            format!("make the key where it stays (`AT%KEYGEN`, `sectag creds keygen`), or, for tests only, add {flag}"),
        ));
    }
    eprintln!(
        "warning: the private key in `{path}` is for tests only: whoever can read {place} can be this device"
    );
    Ok(())
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// It went to stdout.
    Stdout,
    /// It was written.
    Written,
    /// It held the same already.
    Unchanged,
}

impl Wrote {
    /// For JSON.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Written => "written",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Writes a result atomically, for our eyes only when a key is in it; `-` is stdout. An equal file is left alone.
pub(super) fn write(path: &Path, content: &[u8], secret: bool) -> Outcome<Wrote> {
    if path.as_os_str() == "-" {
        use std::io::Write as _;
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(content).and_then(|()| stdout.flush());
        return Ok(Wrote::Stdout);
    }
    if path.is_dir() {
        return Err(Fault::untried(format!(
            "failed to write `{}`: it is a directory",
            path.display()
        ))
        .hint("give the name of the file in it"));
    }
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        && !folder.is_dir()
    {
        return Err(Fault::untried(format!(
            "failed to write `{}`: there is no folder `{}`",
            path.display(),
            folder.display()
        ))
        .hint("make the folder first, or write elsewhere with --output"));
    }
    let same = std::fs::read(path).is_ok_and(|old| Zeroizing::new(old).as_slice() == content);
    if same && !secret {
        eprintln!("unchanged: {}", path.display());
        return Ok(Wrote::Unchanged);
    }
    if secret {
        sectag_keep::write_private(path, content)?;
    } else {
        sectag_keep::write_public(path, content)?;
    }
    eprintln!("wrote {}", path.display());
    Ok(Wrote::Written)
}
