//! The device certificate (`device.cert_path`): the verbs of thin-edge.io's `cert`, with its words on stdout and its exit codes
//! (spec/gateway-config §12 and Annex A). Where that tool loses a key or says what is not so, this does not.

use super::issue::duration_s;
use super::validity::Validity;
use crate::args::{Create, CreateCsr, Global, ShowCert};
use crate::ca::{broken, kept, text_of};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_gateway::config::{Config, Environment};
use sectag_gateway::keys::KeyName;
use sectag_keep::new_beside;
use sectag_pki::own::{self, names_in_order, sha1_thumbprint};
use sectag_pki::{Certificate, KeyPair, KeyType};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

const DAY_S: u64 = 86_400;
/// Certificates begin a day before they are made, and the days that are asked for count from then.
const BACKDATED_S: u64 = DAY_S;
/// Who may read what: everybody the certificate, only the owner its key; nobody changes them in place.
const CERTIFICATE_MODE: u32 = 0o444;
const KEY_MODE: u32 = 0o400;
const ID_CHARS_MAX: usize = 64;
/// What may stand in an id besides letters and digits.
const ID_CHARS: &str = "'=(),-.?_*@!%";

/// Where the files are, and what stands in new certificates.
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    key: PathBuf,
    csr: PathBuf,
    id: Option<String>,
    organization: String,
    unit: String,
    requested_s: u64,
    minimum_s: u64,
}

impl Files {
    pub(super) fn configured(global: &Global, place: &Place) -> Outcome<Self> {
        let locations = crate::config::locations(global, place)?;
        let environment: Environment = crate::config::environment();
        let config = Config::load(&locations, &environment).map_err(Fault::no_because)?;
        let path = |key: &str, name: &str| {
            let default = || locations.dir.join("device-certs").join(name);
            config.path(key).unwrap_or_else(default)
        };
        let text = |key: &str| {
            let (value, _) = config.get(KeyName::exact(key)?)?;
            Some(value.to_string())
        };
        let seconds = |key: &str, days: u64| duration_s(&config, key).unwrap_or(days * DAY_S);
        Ok(Self {
            certificate: path("device.cert_path", "tedge-certificate.pem"),
            key: path("device.key_path", "tedge-private-key.pem"),
            csr: path("device.csr_path", "tedge.csr"),
            id: text("device.id"),
            organization: text("certificate.organization")
                .unwrap_or_else(|| "Thin Edge".to_owned()),
            unit: text("certificate.organization_unit").unwrap_or_else(|| "Device".to_owned()),
            requested_s: seconds("certificate.validity.requested_duration", 365),
            minimum_s: seconds("certificate.validity.minimum_duration", 30),
        })
    }

    fn subject<'a>(&'a self, id: &'a str) -> [(&'a str, &'a str); 3] {
        [("CN", id), ("O", &self.organization), ("OU", &self.unit)]
    }

    fn self_signed(&self, key: &KeyPair, id: &str, now_s: u64) -> Outcome<Certificate> {
        // Whole days are used (spec/gateway-config §2.5).
        let lifetime_s = (self.requested_s / DAY_S).max(1) * DAY_S;
        own::self_signed(key, &self.subject(id), now_s, BACKDATED_S, lifetime_s)
            .map_err(Fault::no_because)
    }

    fn id(&self, given: Option<&str>) -> Outcome<String> {
        let id = given.map(str::to_owned).or_else(|| self.id.clone());
        let id = id.ok_or_else(|| {
            Fault::no("no device ID is provided").hint("use --device-id NAME, or set device.id")
        })?;
        let fits = |c: char| c.is_ascii_alphanumeric() || ID_CHARS.contains(c);
        if id.is_empty() || id.chars().count() > ID_CHARS_MAX {
            Err(Fault::no(format!(
                "`{id}` is no device ID: it has 1 to {ID_CHARS_MAX} characters"
            )))
        } else if !id.chars().all(fits) {
            Err(Fault::no(format!(
                "`{id}` contains characters which cannot be used in a name [use only A-Z, a-z, 0-9, ' = ( ) , - . ? % * _ ! @]"
            )))
        } else {
            Ok(id)
        }
    }
}

/// `cert create`: both halves or none.
pub(super) fn create(global: &Global, place: &Place, arguments: &Create) -> Outcome {
    let files = Files::configured(global, place)?;
    let id = files.id(arguments.device_id.as_deref())?;
    for (path, what) in [
        (&files.certificate, "a certificate"),
        (&files.key, "a private key"),
    ] {
        if path.symlink_metadata().is_ok() {
            return Err(Fault::no(format!(
                "{what} already exists and would be overwritten: `{}`",
                path.display()
            ))
            .hint("run `cert remove` first to generate a new one"));
        }
    }
    let key = KeyPair::generate(KeyType::P256).map_err(Fault::no_because)?;
    let certificate = files.self_signed(&key, &id, super::now_s())?;
    for path in [&files.certificate, &files.key] {
        make_dir(path)?;
    }
    sectag_keep::write_pair(
        &files.certificate,
        certificate.pem().as_bytes(),
        &files.key,
        key.to_pem().as_bytes(),
    )
    .map_err(kept_no)?;
    set_mode(&files.key, KEY_MODE)?;
    set_mode(&files.certificate, CERTIFICATE_MODE)?;
    print(&files.certificate, files.minimum_s)?;
    eprintln!(
        "Certificate created successfully\n    => the certificate has to be uploaded to the cloud\n    => before the device can be connected"
    );
    Ok(())
}

/// `cert show` without a file of its own.
pub(super) fn show(global: &Global, place: &Place, arguments: &ShowCert) -> Outcome {
    let files = Files::configured(global, place)?;
    let path = arguments.cert_path.as_ref().unwrap_or(&files.certificate);
    if arguments.new {
        print(&new_beside(path), files.minimum_s)
    } else {
        print(path, files.minimum_s)
    }
}

/// `cert renew` of the device certificate: self-signed with the key that is there, and a serial number of its own.
pub(super) fn renew(global: &Global, place: &Place, ca: Option<&str>, dry_run: bool) -> Outcome {
    let files = Files::configured(global, place)?;
    if let Some(ca) = ca.filter(|ca| *ca != "self-signed") {
        return Err(Fault::no(format!("`{ca}` cannot be asked for a certificate from here"))
            .hint("make a request with `cert create-csr` and bring it to the CA; `--ca self-signed` renews a self-signed one"));
    }
    let old = certificate_in(&files.certificate)?;
    let (subject, issuer) =
        names_in_order(old.der()).map_err(|e| broken(&files.certificate, &e))?;
    if subject != issuer {
        return Err(Fault::no(format!(
            "the certificate in `{}` was issued by `{issuer}`; only its issuer can renew it",
            files.certificate.display()
        ))
        .hint("make a request for it with `cert create-csr`, or `sectag cert renew NAME` for one of this home's CAs"));
    }
    let key = key_in(&files.key)?.ok_or_else(|| {
        Fault::no(format!(
            "the key of the certificate is missing: `{}`",
            files.key.display()
        ))
        .hint("a certificate for another key would be of no use; `cert remove` and `cert create` begin anew")
    })?;
    if sectag_pki::sha256(&key.spki_der()) != old.spki_sha256 {
        return Err(Fault::no(format!(
            "the key in `{}` is not that of the certificate",
            files.key.display()
        )));
    }
    let id = common_name(&old, &files.certificate)?;
    let renewed = files.self_signed(&key, &id, super::now_s())?;
    let path = new_beside(&files.certificate);
    if dry_run {
        eprintln!("`{}` would be written", path.display());
        return Ok(());
    }
    sectag_keep::write_public(&path, renewed.pem().as_bytes()).map_err(kept_no)?;
    set_mode(&path, CERTIFICATE_MODE)?;
    print(&path, files.minimum_s)?;
    eprintln!(
        "Certificate renewed successfully\n    For an un-interrupted service:\n    => the new certificate has to be uploaded to the cloud\n    => then the device reconnected"
    );
    Ok(())
}

/// `cert create-csr`: with the key that is there, else with a new one.
pub(super) fn create_csr(global: &Global, place: &Place, arguments: &CreateCsr) -> Outcome {
    let files = Files::configured(global, place)?;
    let id = files.id(arguments.device_id.as_deref())?;
    let key = match key_in(&files.key)? {
        Some(key) => key,
        None => {
            let key = KeyPair::generate(KeyType::P256).map_err(Fault::no_because)?;
            make_dir(&files.key)?;
            sectag_keep::write_private(&files.key, key.to_pem().as_bytes()).map_err(kept_no)?;
            set_mode(&files.key, KEY_MODE)?;
            key
        }
    };
    let path = arguments.output_path.as_ref().unwrap_or(&files.csr);
    let text = own::request(&key, &files.subject(&id)).map_err(Fault::no_because)?;
    make_dir(path)?;
    sectag_keep::write_public(path, text.as_bytes()).map_err(kept_no)?;
    set_mode(path, CERTIFICATE_MODE)?;
    eprintln!("Certificate Signing Request was successfully created.");
    Ok(())
}

/// `cert remove`: says what it removed.
pub(super) fn remove(global: &Global, place: &Place) -> Outcome {
    let files = Files::configured(global, place)?;
    let mut removed = Vec::new();
    // The key last: a certificate whose key is gone would be worth nothing, the reverse begins anew.
    for path in [
        new_beside(&files.certificate),
        files.certificate.clone(),
        files.key.clone(),
    ] {
        if sectag_keep::remove(&path).map_err(kept_no)? {
            removed.push(path.display().to_string());
        }
    }
    if removed.is_empty() {
        eprintln!("There is no certificate to remove");
    } else {
        eprintln!(
            "Certificate was successfully removed: {}",
            removed.join(", ")
        );
    }
    Ok(())
}

/// The lines of `cert show`.
fn print(path: &Path, minimum_s: u64) -> Outcome {
    let certificate = certificate_in(path)?;
    let facts = sectag_pki::show(certificate.der()).map_err(|e| broken(path, &e))?;
    let (subject, issuer) = names_in_order(certificate.der()).map_err(|e| broken(path, &e))?;
    let validity = Validity::of(&facts, minimum_s, super::now_s());
    output::print(&format!(
        "Certificate:   {}\nSubject:       {subject}\nIssuer:        {issuer}\nStatus:        {}\nValid from:    {}\nValid until:   {}\nSerial number: {} (0x{})\nThumbprint:    {}\n",
        path.display(),
        validity.words(),
        moment(facts.not_before_s),
        moment(facts.not_after_s),
        decimal(&facts.serial_hex),
        facts.serial_hex,
        sha1_thumbprint(certificate.der()),
    ));
    Ok(())
}

/// `Thu, 19 Nov 2026 19:43:31 +0000`
fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|moment| moment.format(&Rfc2822).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}

/// A long number in decimal digits: serial numbers have up to twenty bytes.
fn decimal(hex: &str) -> String {
    let mut digits = vec![0_u32];
    for nibble in hex.chars().filter_map(|c| c.to_digit(16)) {
        let mut carry = nibble;
        for digit in &mut digits {
            let value = *digit * 16 + carry;
            *digit = value % 10;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    let text = digits.iter().rev().filter_map(|d| char::from_digit(*d, 10));
    text.collect()
}

fn certificate_in(path: &Path) -> Outcome<Certificate> {
    let bytes = super::bytes_of(path).map_err(|fault| fault.or_code(1))?;
    let mut found = crate::ca::certificates_in(path, &bytes)?;
    Ok(found.swap_remove(0)) // `certificates_in` gives at least one
}

fn key_in(path: &Path) -> Outcome<Option<KeyPair>> {
    let Some(bytes) = sectag_keep::read_private(path).map_err(kept_no)? else {
        return Ok(None);
    };
    let text = text_of(path, &bytes)?;
    KeyPair::from_pem(&text)
        .map(Some)
        .map_err(|e| broken(path, &e))
}

fn common_name(certificate: &Certificate, path: &Path) -> Outcome<String> {
    let asked =
        own::read_issued(certificate.der(), certificate.der()).map_err(|e| broken(path, &e))?;
    match asked.common_name() {
        Some(name) => Ok(name.to_owned()),
        None => Err(Fault::no(format!(
            "the certificate in `{}` has no common name",
            path.display()
        ))),
    }
}

fn make_dir(path: &Path) -> Outcome {
    match path.parent() {
        Some(dir) => std::fs::create_dir_all(dir).map_err(|e| {
            Fault::no(format!(
                "failed to make the folder `{}`: {e}",
                dir.display()
            ))
        }),
        None => Ok(()),
    }
}

fn set_mode(path: &Path, mode: u32) -> Outcome {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(|e| {
        Fault::no(format!(
            "failed to set the mode of `{}`: {e}",
            path.display()
        ))
    })
}

/// Upstream knows one code for whatever fails.
fn kept_no(error: sectag_keep::KeepError) -> Fault {
    kept(error).or_code(1)
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn a_serial_number_is_written_in_decimal_digits_too() {
        for (hex, text) in [
            ("00", "0"),
            ("ff", "255"),
            ("0100", "256"),
            (
                "ffffffffffffffffffffffffffffffff",
                "340282366920938463463374607431768211455",
            ),
        ] {
            assert_eq!(decimal(hex), text);
        }
    }
}
