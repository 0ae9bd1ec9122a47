//! What a record for many readers says of a request: which, where and how much, and nothing that could be a secret.
//!
//! Certificates become their size and digest. Values of settings and AT parameters become their size alone, and the password
//! of a key less than that: a PIN or a password would be found from its digest.

use super::{CommandRequest, ConfigPairs, SecretField};
use alloc::format;
use alloc::string::String;
use sha2::{Digest, Sha256};

impl CommandRequest {
    /// The same request in outline, in the same shape: for audit entries, which stay for ever.
    #[must_use]
    pub fn outline(&self) -> Self {
        let mut outline = self.clone();
        outline.erase_secrets();
        match &mut outline {
            Self::ClientCertificate { content, .. } | Self::ServerCertificate { content, .. } => {
                *content = digest_of(content);
            }
            Self::Config(ConfigPairs(pairs)) => {
                for (_, value) in pairs {
                    *value = size_of(value);
                }
            }
            Self::AtCommand { parameters, .. } if !parameters.is_empty() => {
                *parameters = size_of(parameters);
            }
            Self::ClientPrivateKey {
                password: Some(password),
                ..
            } => *password = SecretField::Erased(WITHHELD.into()),
            _ => {}
        }
        outline
    }
}

/// In the place of a digest.
const WITHHELD: &str = "withheld";

fn size_of(text: &str) -> String {
    format!("<{} bytes>", text.len())
}

/// The SHA-256 of the text as it is queued, whole: somebody who has the file can compare.
fn digest_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    format!("<{} bytes, sha256 {}>", text.len(), hex.collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// Each kind with `SECRET-VALUE` wherever an owner may write a text that nobody else should read.
    const ALL: [&str; 11] = [
        r#"{"clientPrivateKeyGeneration":{"secTag":1}}"#,
        r#"{"cloudAccessKeyGeneration":{"secTag":1}}"#,
        r#"{"certificateSigningRequest":{"secTag":1,"attributes":"CN=a","issue":true}}"#,
        r#"{"clientCertificate":{"secTag":1,"content":"SECRET-VALUE"}}"#,
        r#"{"serverCertificate":{"secTag":1,"content":"SECRET-VALUE"}}"#,
        r#"{"clientPrivateKey":{"secTag":1,"content":"SECRET-VALUE","password":"SECRET-VALUE"}}"#,
        r#"{"preSharedKey":{"secTag":1,"identity":"me","secret":"SECRET-VALUE"}}"#,
        r#"{"endorsementKeyGeneration":{"secTag":1}}"#,
        r#"{"config":{"wifi/password":"SECRET-VALUE"}}"#,
        r#"{"atCommand":{"command":"+CPIN","parameters":"\"SECRET-VALUE\""}}"#,
        r#"{"finished":{}}"#,
    ];

    #[test]
    fn an_outline_of_no_kind_holds_what_its_owner_would_hide() {
        for json in ALL {
            let request: CommandRequest = serde_json::from_str(json).unwrap();
            let outline = request.outline();
            let said = serde_json::to_string(&outline).unwrap();
            assert!(!said.contains("SECRET"), "{said}");
            assert_eq!(
                (outline.kind(), outline.sec_tag()),
                (request.kind(), request.sec_tag())
            );
            assert_eq!(outline.outline().kind(), outline.kind());
            let again: CommandRequest = serde_json::from_str(&said).unwrap();
            assert_eq!(again, outline, "it reads like a request");
        }
    }

    #[test]
    fn an_outline_tells_one_certificate_from_another_and_is_small() {
        let certificate = |content: String| CommandRequest::ServerCertificate {
            sec_tag: crate::SecTag::new(1).unwrap(),
            content,
        };
        let (one, two) = ("a".repeat(4000), "b".repeat(4000));
        let said = |content| serde_json::to_string(&certificate(content).outline()).unwrap();
        assert_ne!(said(one.clone()), said(two));
        assert!(said(one.clone()).len() < 200, "{}", said(one));
        let pin = |pin: &str| CommandRequest::AtCommand {
            command: "+CPIN".to_string(),
            parameters: pin.to_string(),
            ignore_cme_errors: [].into(),
        };
        assert_eq!(
            pin("1234").outline(),
            pin("4321").outline(),
            "no digest to search"
        );
        let key = |password: &str| CommandRequest::ClientPrivateKey {
            sec_tag: crate::SecTag::new(1).unwrap(),
            content: "key".into(),
            password: Some(password.into()),
        };
        assert_eq!(key("1234").outline(), key("4321").outline());
    }
}
