//! Names of credential types: those that the usual host tools take, and ours.

use sectag_proto::CredentialType;

/// Number, name in the host tools, other names taken.
const NAMES: [(u8, &str, &[&str]); 11] = [
    (0, "ROOT_CA_CERT", &["CA", "ROOT_CA", "CA_CERT", "CA_CHAIN"]),
    (
        1,
        "CLIENT_CERT",
        &["CERT", "CLIENT_CERTIFICATE", "PUBLIC_CERT"],
    ),
    (
        2,
        "CLIENT_KEY",
        &["KEY", "PRIVATE_KEY", "CLIENT_PRIVATE_KEY", "PRIVATE_CERT"],
    ),
    (3, "PSK", &[]),
    (4, "PSK_ID", &["PSK_IDENTITY", "IDENTITY"]),
    (5, "PUB_KEY", &["PUBLIC_KEY"]),
    (6, "DEV_ID_PUB_KEY", &["DEVICE_IDENTITY_PUBLIC_KEY"]),
    (8, "ENDORSEMENT_KEY", &["ENDORSEMENT_PRIVATE_KEY"]),
    (9, "OWNERSHIP_KEY", &["OWNERSHIP_PUBLIC_KEY"]),
    (10, "NORDIC_ID_ROOT_CA", &["NORDIC_ROOT_CA"]),
    (11, "NORDIC_PUB_KEY", &["NORDIC_PUBLIC_KEY"]),
];

/// The name that the host tools use, e.g. `ROOT_CA_CERT`; the number for a type nobody knows.
pub fn type_name(kind: CredentialType) -> String {
    NAMES
        .iter()
        .find(|(number, ..)| *number == kind.0)
        .map_or_else(|| kind.0.to_string(), |(_, name, _)| (*name).to_owned())
}

/// A type by number (0 … 11, 7 is reserved) or name; case, `-` and `_` do not matter.
///
/// # Errors
/// A sentence with what was given and all names.
pub fn type_from_text(text: &str) -> Result<CredentialType, String> {
    let wanted = text.trim().replace('-', "_").to_ascii_uppercase();
    let found = NAMES.iter().find(|(number, name, others)| {
        *name == wanted || others.contains(&wanted.as_str()) || number.to_string() == wanted
    });
    match found {
        Some((number, ..)) => Ok(CredentialType(*number)),
        None => {
            let given: String = text.chars().take(40).collect();
            let all: Vec<String> = NAMES
                .iter()
                .map(|(number, name, _)| format!("{name} ({number})"))
                .collect();
            Err(format!(
                "`{given}` is not a credential type; there are {}",
                all.join(", ")
            ))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_taken_in_any_case() {
        for (text, number) in [
            ("0", 0),
            ("ROOT_CA_CERT", 0),
            ("root-ca-cert", 0),
            ("ca", 0),
            ("CLIENT_CERT", 1),
            ("client_key", 2),
            ("PSK", 3),
            ("psk-id", 4),
            ("11", 11),
        ] {
            assert_eq!(type_from_text(text).unwrap().0, number, "{text}");
        }
    }

    #[test]
    fn the_reserved_number_and_nonsense_are_refused_with_the_names() {
        for text in ["7", "12", "-1", "", "ANY", "cert2"] {
            let why = type_from_text(text).unwrap_err();
            assert!(why.contains("ROOT_CA_CERT (0)"), "{why}");
        }
    }

    #[test]
    fn a_name_is_read_back() {
        for number in (0..=11).filter(|n| *n != 7) {
            let kind = CredentialType(number);
            assert_eq!(type_from_text(&type_name(kind)).unwrap(), kind);
        }
        assert_eq!(type_name(CredentialType(200)), "200");
    }
}
