//! What a transcript may show: everything but private keys, PSKs, tokens that log in, and PINs.

use zeroize::Zeroizing;

const MASK: &str = "****";

/// Commands whose quoted texts are secrets, whatever they are.
const SECRET_COMMANDS: [&str; 5] = ["%KEYINJECT", "+CPIN", "+CPWD", "+CLCK", "+CGAUTH"];

/// A line to or from a modem with each secret replaced by `****`, and line breaks shown as `\r` and `\n`.
pub fn masked(line: &str) -> String {
    let line = Zeroizing::new(without_pem_keys(line));
    let mut text = String::new();
    for (at, part) in line.split('"').enumerate() {
        if at > 0 {
            text.push('"');
        }
        // Even parts are outside of quotes.
        text.push_str(if at % 2 == 1 && is_secret(&line, at / 2) {
            MASK
        } else {
            part
        });
    }
    text.replace('\r', "\\r").replace('\n', "\\n")
}

/// Whether the `index`th quoted text of the line is a secret.
fn is_secret(line: &str, index: usize) -> bool {
    let head: String = line
        .split('"')
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    if SECRET_COMMANDS.iter().any(|name| head.contains(name)) || head.contains("%JWT:") {
        return true;
    }
    // AT%CMNG=0,<tag>,<type>,"<content>","<password>" and %CMNG: <tag>,<type>,"<digest>","<content>"
    let fields = |after: &str| -> Option<Vec<String>> {
        let (_, rest) = head.split_once(after)?;
        Some(
            rest.split(',')
                .map(|field| field.trim().to_owned())
                .collect(),
        )
    };
    let secret_type =
        |kind: Option<&String>| !matches!(kind.map(String::as_str), Some("0" | "1" | "4"));
    if let Some(fields) = fields("%CMNG=") {
        return index > 0 || secret_type(fields.get(2));
    }
    if let Some(fields) = fields("%CMNG:") {
        return index > 0 && secret_type(fields.get(1));
    }
    false
}

/// A private key in PEM, wherever it stands, also in a log line and also when it is cut.
fn without_pem_keys(text: &str) -> String {
    const KEY: &str = "PRIVATE KEY-----";
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        let label_end = rest[start + BEGIN.len()..].find("-----");
        let is_key = label_end.is_some_and(|end| {
            rest[start..start + BEGIN.len() + end + "-----".len()].ends_with(KEY)
        });
        if !is_key {
            let next = start + BEGIN.len();
            out.push_str(&rest[..next]);
            rest = &rest[next..];
            continue;
        }
        out.push_str(&rest[..start]);
        out.push_str(MASK);
        // Up to and with the end line; to the end of the text when there is none.
        rest = rest[start..]
            .find(END)
            .and_then(|end| {
                let from_end = &rest[start + end..];
                from_end.find(KEY).map(|key| &from_end[key + KEY.len()..])
            })
            .unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_psks_passwords_and_tokens_are_masked() {
        for (line, shown) in [
            (
                "AT%CMNG=0,42,2,\"-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\"",
                "AT%CMNG=0,42,2,\"****\"",
            ),
            ("at%cmng=0, 42, 3,\"c0ffee\"", "at%cmng=0, 42, 3,\"****\""),
            (
                "AT%CMNG=0,42,2,\"anything\",\"password\"",
                "AT%CMNG=0,42,2,\"****\",\"****\"",
            ),
            ("%JWT: \"eyJ.abc.def\"", "%JWT: \"****\""),
            ("AT+CPIN=\"1234\"", "AT+CPIN=\"****\""),
            (
                "AT+CGAUTH=0,1,\"user\",\"pass\"",
                "AT+CGAUTH=0,1,\"****\",\"****\"",
            ),
            ("log -----BEGIN EC PRIVATE KEY-----\nabc", "log ****"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }

    #[test]
    fn what_is_public_is_shown_on_one_line() {
        for (line, shown) in [
            (
                "AT%CMNG=0,42,0,\"-----BEGIN CERTIFICATE-----\r\nabc\n\"",
                "AT%CMNG=0,42,0,\"-----BEGIN CERTIFICATE-----\\r\\nabc\\n\"",
            ),
            ("%CMNG: 42,2,\"AB\"", "%CMNG: 42,2,\"AB\""),
            ("%CMNG: 42,1,\"AB\",\"cert\"", "%CMNG: 42,1,\"AB\",\"cert\""),
            ("AT%KEYGEN=42,2,0,\"CN=a\"", "AT%KEYGEN=42,2,0,\"CN=a\""),
            ("+CFUN: 1", "+CFUN: 1"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }

    #[test]
    fn a_certificate_beside_a_key_stays() {
        let text = "-----BEGIN CERTIFICATE-----a-----END CERTIFICATE----------BEGIN PRIVATE KEY-----b-----END PRIVATE KEY-----tail";
        assert_eq!(
            masked(text),
            "-----BEGIN CERTIFICATE-----a-----END CERTIFICATE-----****tail"
        );
    }
}
