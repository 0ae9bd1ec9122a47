//! What is refused when a command is created, and the little that is put right (spec/owner-api §4, notes).
//!
//! A field that no modem would take is refused here, with its JSON name, and never becomes a command: on the device
//! it would fail late, drop the rest of the queue, or (a text that is too long) crash the client library.

use super::AddError;
use crate::command::{CommandRequest, SecretField};
use crate::secret::SecretText;
use crate::wire::{CONFIG_PAIRS_MAX, IGNORED_CODES_MAX};
use alloc::format;
use alloc::string::String;
use zeroize::Zeroizing;

/// Characters of the password of an encrypted PKCS#8 key (spec/modem-at §4).
const PASSWORD_CHARS_MAX: usize = 32;
/// Digits of a key usage, one per bit of RFC 5280 §4.2.1.3.
const KEY_USAGE_DIGITS: usize = 9;

/// Refuses or normalises one request.
pub(super) fn check(mut request: CommandRequest) -> Result<CommandRequest, AddError> {
    use CommandRequest as R;
    match &mut request {
        R::CertificateSigningRequest {
            attributes,
            key_usage,
            ..
        } => {
            check_attributes(attributes)?;
            if key_usage.as_deref() == Some("") {
                *key_usage = None;
            }
            if let Some(bits) = key_usage {
                check_key_usage(bits)?;
            }
        }
        R::ClientCertificate { content, .. } | R::ServerCertificate { content, .. } => {
            *content = pem(content)?.as_str().into();
        }
        R::ClientPrivateKey {
            content, password, ..
        } => {
            let text = pem(given(content, "content")?)?;
            *content = SecretField::Given(SecretText::new(text.as_str().into()));
            if let Some(password) = password {
                check_password(given(password, "password")?)?;
            }
        }
        R::PreSharedKey {
            identity, secret, ..
        } => {
            if identity.is_empty() {
                return refuse("identity", "is empty");
            }
            quotable("identity", identity)?;
            check_psk(given(secret, "secret")?)?;
        }
        R::Config(pairs) => check_pairs(&pairs.0)?,
        R::AtCommand {
            command,
            parameters,
            ignore_cme_errors,
        } => {
            check_at_name(command)?;
            check_at_parameters(parameters)?;
            check_no_secret_by_at(command, parameters)?;
            if ignore_cme_errors.len() > IGNORED_CODES_MAX {
                let reason = format!(
                    "holds {} codes; a device keeps {IGNORED_CODES_MAX}",
                    ignore_cme_errors.len()
                );
                return refuse("ignoreCmeErrors", reason);
            }
        }
        R::ClientPrivateKeyGeneration { .. }
        | R::CloudAccessKeyGeneration { .. }
        | R::EndorsementKeyGeneration { .. }
        | R::Finished {} => {}
    }
    Ok(request)
}

fn refuse<T>(field: &'static str, reason: impl Into<String>) -> Result<T, AddError> {
    Err(AddError::Field {
        field,
        reason: reason.into(),
    })
}

fn given<'a>(secret: &'a SecretField, field: &'static str) -> Result<&'a str, AddError> {
    match secret.given() {
        Some(text) => Ok(text.expose()),
        None => refuse(field, "is a digest; the secret itself is needed"),
    }
}

/// Between quotes on one line: no quote, no control character.
fn quotable(field: &'static str, text: &str) -> Result<(), AddError> {
    match text.chars().find(|c| *c == '"' || c.is_control()) {
        None => Ok(()),
        Some('"') => refuse(
            field,
            "holds a double quote, which an AT command cannot carry",
        ),
        Some(c) => refuse(
            field,
            format!("holds the control character {:#04x}", c as u32),
        ),
    }
}

/// PEM as it will stand between quotes: real line feeds, no quote, no NUL.
fn pem(content: &str) -> Result<Zeroizing<String>, AddError> {
    const FIELD: &str = "content";
    let content = if content.contains('\n') {
        Zeroizing::new(content.into())
    } else {
        let with_cr = Zeroizing::new(content.replace("\\r\\n", "\n"));
        Zeroizing::new(with_cr.replace("\\n", "\n"))
    };
    if content.trim().is_empty() {
        return refuse(FIELD, "is empty");
    }
    if content.contains('"') {
        return refuse(
            FIELD,
            "holds a double quote, which an AT command cannot carry",
        );
    }
    if content.contains('\0') {
        return refuse(FIELD, "holds a NUL character");
    }
    if !content.trim_start().starts_with("-----BEGIN ") {
        return refuse(FIELD, "is not PEM: it does not begin with `-----BEGIN `");
    }
    Ok(content)
}

fn check_attributes(attributes: &str) -> Result<(), AddError> {
    const FIELD: &str = "attributes";
    quotable(FIELD, attributes)?;
    if attributes.is_empty() {
        return Ok(());
    }
    for part in attributes.split(',') {
        let plausible = part.split_once('=').is_some_and(|(key, value)| {
            let key = key.trim();
            !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
                && !value.trim().is_empty()
        });
        if !plausible {
            let reason = format!("`{part}` is not KEY=value; expected a list like O=Acme,CN=name");
            return refuse(FIELD, reason);
        }
    }
    Ok(())
}

fn check_key_usage(bits: &str) -> Result<(), AddError> {
    if bits.len() == KEY_USAGE_DIGITS && bits.bytes().all(|b| matches!(b, b'0' | b'1')) {
        return Ok(());
    }
    refuse("keyUsage", "is not nine binary digits like 101010000")
}

fn check_password(password: &str) -> Result<(), AddError> {
    let chars = password.chars().count();
    if chars == 0 || chars > PASSWORD_CHARS_MAX {
        let reason = format!("has {chars} characters; a modem takes 1 to {PASSWORD_CHARS_MAX}");
        return refuse("password", reason);
    }
    quotable("password", password)
}

/// The text never appears in the refusal: it is a secret, even a wrong one.
fn check_psk(secret: &str) -> Result<(), AddError> {
    let hex = secret.bytes().all(|b| b.is_ascii_hexdigit());
    if secret.is_empty() || secret.len() % 2 == 1 || !hex {
        return refuse(
            "secret",
            "is not a pre-shared key: expected an even number of hexadecimal digits",
        );
    }
    Ok(())
}

fn check_pairs(pairs: &[(String, String)]) -> Result<(), AddError> {
    const FIELD: &str = "config";
    if pairs.is_empty() || pairs.len() > CONFIG_PAIRS_MAX {
        let reason = format!(
            "has {} pairs; a device takes 1 to {CONFIG_PAIRS_MAX} in one command",
            pairs.len()
        );
        return refuse(FIELD, reason);
    }
    for (index, (key, value)) in pairs.iter().enumerate() {
        if key.is_empty() {
            return refuse(FIELD, format!("pair {index} has an empty key"));
        }
        if value.is_empty() {
            return refuse(FIELD, format!("the value of `{key}` is empty"));
        }
        if key.contains('\0') || value.contains('\0') {
            return refuse(FIELD, format!("pair {index} holds a NUL character"));
        }
        if pairs[..index].iter().any(|(earlier, _)| earlier == key) {
            return refuse(FIELD, format!("`{key}` is there twice"));
        }
    }
    Ok(())
}

fn check_at_name(command: &str) -> Result<(), AddError> {
    const FIELD: &str = "command";
    if command.contains('=') {
        return refuse(
            FIELD,
            "holds `=`; what follows it belongs into `parameters`",
        );
    }
    if command
        .get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case("at"))
    {
        return refuse(FIELD, "begins with `AT`; leave it out, as in `%CMNG`");
    }
    let mut chars = command.chars();
    let prefix = chars.next().is_some_and(|c| "%+#&$*^".contains(c));
    let rest = chars.as_str();
    if !prefix || rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return refuse(
            FIELD,
            "is not the name of a SET command: expected `%`, `+` or `#`, then letters and digits, as in `%CMNG`",
        );
    }
    Ok(())
}

fn check_at_parameters(parameters: &str) -> Result<(), AddError> {
    const FIELD: &str = "parameters";
    let mut quoted = false;
    for c in parameters.chars() {
        match c {
            '"' => quoted = !quoted,
            '\0' => return refuse(FIELD, "holds a NUL character"),
            '\r' | '\n' if quoted => {}
            c if c.is_control() && !quoted => {
                let reason = format!(
                    "holds the control character {:#04x} outside quotes",
                    c as u32
                );
                return refuse(FIELD, reason);
            }
            _ => {}
        }
    }
    if quoted {
        return refuse(FIELD, "has a double quote that is never closed");
    }
    Ok(())
}

/// A private key or PSK in free text would stand readable in lists and logs.
fn check_no_secret_by_at(command: &str, parameters: &str) -> Result<(), AddError> {
    if !command.eq_ignore_ascii_case("%CMNG") {
        return Ok(());
    }
    let mut numbers = parameters
        .splitn(4, ',')
        .map(|text| text.trim().trim_matches('"').trim().parse::<u64>().ok());
    let (operation, _tag, kind) = (
        numbers.next().flatten(),
        numbers.next(),
        numbers.next().flatten(),
    );
    match (operation, kind) {
        (Some(0), Some(2)) => refuse(
            "parameters",
            "write a private key, which would stay readable; use `clientPrivateKey`, which is write-only",
        ),
        (Some(0), Some(3)) => refuse(
            "parameters",
            "write a pre-shared key, which would stay readable; use `preSharedKey`, which is write-only",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::SecTag;
    use crate::command::ConfigPairs;
    use std::string::ToString;
    use std::vec::Vec;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn tag() -> SecTag {
        SecTag::new(16_842_753).unwrap()
    }

    fn ca(content: &str) -> CommandRequest {
        CommandRequest::ServerCertificate {
            sec_tag: tag(),
            content: content.into(),
        }
    }

    fn csr(attributes: &str, key_usage: Option<&str>) -> CommandRequest {
        CommandRequest::CertificateSigningRequest {
            sec_tag: tag(),
            attributes: attributes.into(),
            key_usage: key_usage.map(Into::into),
            issue: None,
        }
    }

    fn at(command: &str, parameters: &str) -> CommandRequest {
        CommandRequest::AtCommand {
            command: command.into(),
            parameters: parameters.into(),
            ignore_cme_errors: Vec::new(),
        }
    }

    fn psk(identity: &str, secret: &str) -> CommandRequest {
        CommandRequest::PreSharedKey {
            sec_tag: tag(),
            identity: identity.into(),
            secret: secret.into(),
        }
    }

    fn config(pairs: &[(&str, &str)]) -> CommandRequest {
        let own = |(k, v): &(&str, &str)| (k.to_string(), v.to_string());
        CommandRequest::Config(ConfigPairs(pairs.iter().map(own).collect()))
    }

    #[track_caller]
    fn refused(request: CommandRequest, field: &str, words: &str) {
        let text = check(request).unwrap_err().to_string();
        assert!(text.starts_with(&std::format!("{field}: ")), "{text}");
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn pem_that_cannot_stand_between_quotes_is_refused() {
        refused(ca(&std::format!("{PEM}\"")), "content", "double quote");
        refused(ca(&std::format!("{PEM}\0")), "content", "NUL");
        refused(ca(" \n"), "content", "empty");
        refused(ca("MIIB"), "content", "not PEM");
        assert_eq!(check(ca(PEM)).unwrap(), ca(PEM));
    }

    #[test]
    fn backslash_n_becomes_a_line_feed_only_where_there_is_no_real_one() {
        let scripted = PEM.replace('\n', "\\n");
        assert_eq!(check(ca(&scripted)).unwrap(), ca(PEM));
        assert_eq!(check(ca(&PEM.replace('\n', "\\r\\n"))).unwrap(), ca(PEM));
        let mixed = std::format!("{PEM}\\n");
        assert_eq!(check(ca(&mixed)).unwrap(), ca(&mixed));
        let windows = PEM.replace('\n', "\r\n");
        assert_eq!(check(ca(&windows)).unwrap(), ca(&windows));
    }

    #[test]
    fn key_usage_is_nine_binary_digits_or_absent() {
        assert!(check(csr("", Some("101010000"))).is_ok());
        assert_eq!(check(csr("", Some(""))).unwrap(), csr("", None));
        refused(csr("", Some("10101000")), "keyUsage", "nine binary digits");
        refused(csr("", Some("101010002")), "keyUsage", "nine binary digits");
    }

    #[test]
    fn attributes_are_a_plausible_list_without_quotes() {
        for good in [
            "",
            "CN=a",
            "O=Acme Ltd,L=Trondheim,C=NO,CN=b=c",
            "CN=a, O=b",
        ] {
            assert!(check(csr(good, None)).is_ok(), "{good}");
        }
        refused(csr("CN=\"a\"", None), "attributes", "double quote");
        refused(
            csr("CN=a,acme", None),
            "attributes",
            "`acme` is not KEY=value",
        );
        refused(csr("CN=", None), "attributes", "KEY=value");
        refused(csr("CN=a\nO=b", None), "attributes", "control character");
    }

    #[test]
    fn a_psk_is_hex_and_is_not_repeated_in_its_refusal() {
        assert!(check(psk("me", "00aaFF")).is_ok());
        for bad in ["", "00aaf", "xyzxyz"] {
            let text = check(psk("me", bad)).unwrap_err().to_string();
            assert!(text.starts_with("secret: ") && (bad.is_empty() || !text.contains(bad)));
        }
        refused(psk("m\"e", "00"), "identity", "double quote");
        refused(psk("", "00"), "identity", "empty");
    }

    #[test]
    fn a_password_has_at_most_32_characters() {
        let key = |password: &str| CommandRequest::ClientPrivateKey {
            sec_tag: tag(),
            content: "-----BEGIN ENCRYPTED PRIVATE KEY-----\\nAAAA".into(),
            password: Some(password.into()),
        };
        let good = check(key(&"p".repeat(32))).unwrap();
        assert_eq!(
            good.secrets()[0].expose(),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA"
        );
        refused(key(&"p".repeat(33)), "password", "33 characters");
        refused(key(""), "password", "0 characters");
        refused(key("a\"b"), "password", "double quote");
    }

    #[test]
    fn a_digest_is_no_secret() {
        let mut request = psk("me", "00aa");
        request.erase_secrets();
        refused(request, "secret", "is a digest");
    }

    #[test]
    fn config_has_one_to_ten_whole_and_different_pairs() {
        assert!(check(config(&[("provisioning/interval-sec", "99")])).is_ok());
        refused(config(&[]), "config", "0 pairs");
        let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|n| (n.as_str(), "x")).collect();
        assert!(check(config(&many[..10])).is_ok());
        refused(config(&many), "config", "11 pairs");
        refused(config(&[("", "x")]), "config", "empty key");
        refused(config(&[("a", "")]), "config", "value of `a` is empty");
        refused(config(&[("a", "x"), ("a", "y")]), "config", "twice");
    }

    #[test]
    fn an_at_command_is_a_set_command_by_name() {
        for good in ["%CMNG", "+CFUN", "#XSYSTEM", "%xfoo2"] {
            assert!(check(at(good, "1")).is_ok(), "{good}");
        }
        refused(at("AT%CMNG", ""), "command", "leave it out");
        refused(at("at+CFUN", ""), "command", "leave it out");
        refused(at("%CMNG=1", ""), "command", "`parameters`");
        refused(at("CFUN", ""), "command", "SET command");
        refused(at("%", ""), "command", "SET command");
        refused(at("%CM NG", ""), "command", "SET command");
        refused(at("%CMNG\r", ""), "command", "SET command");
        refused(at("", ""), "command", "SET command");
    }

    #[test]
    fn parameters_cannot_smuggle_a_second_command() {
        assert!(check(at("%CMNG", "0,1,0,\"line\r\nline\"")).is_ok());
        refused(
            at("%CMNG", "1\r\nAT+CFUN=1"),
            "parameters",
            "outside quotes",
        );
        refused(at("%CMNG", "1\n"), "parameters", "outside quotes");
        refused(at("%CMNG", "1,\"a"), "parameters", "never closed");
        refused(at("%CMNG", "0,1,0,\"\0\""), "parameters", "NUL");
    }

    #[test]
    fn at_most_six_codes_are_ignored() {
        let with = |count: u32| CommandRequest::AtCommand {
            command: "+X".into(),
            parameters: String::new(),
            ignore_cme_errors: (0..count).collect(),
        };
        assert!(check(with(6)).is_ok());
        refused(with(7), "ignoreCmeErrors", "holds 7 codes");
    }

    #[test]
    fn a_secret_in_a_free_at_command_is_refused_with_the_right_way() {
        refused(
            at("%CMNG", "0,1,2,\"KEY\""),
            "parameters",
            "clientPrivateKey",
        );
        refused(
            at("%cmng", "0, 1 , 3 ,\"00\""),
            "parameters",
            "preSharedKey",
        );
        refused(
            at("%CMNG", "00,1,02,\"KEY\""),
            "parameters",
            "clientPrivateKey",
        );
        for harmless in ["3,1,2", "0,1,0,\"PEM\"", "1", "0,1,4,\"id\""] {
            assert!(check(at("%CMNG", harmless)).is_ok(), "{harmless}");
        }
    }
}
