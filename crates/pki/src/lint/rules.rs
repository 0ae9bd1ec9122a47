//! The table: what can be wrong with a certificate, and who refuses it for that.
//!
//! Cells about rustls and OpenSSL are compared with webpki and `openssl verify` themselves by a test that makes a
//! certificate for each rule. About Mbed TLS its source and documentation are the ground (version 3.6, default profile;
//! dates only where it is built with a clock), about the modem its AT reference, release notes and the exercise; where those are silent, the
//! cell says that it is inferred.

use super::{Answer, Cell, Ground, Rule};

/// The rule with this name.
///
/// # Panics
/// When there is none: rules are named in this crate only, and a test names each.
pub fn rule(id: &str) -> &'static Rule {
    RULES
        .iter()
        .find(|rule| rule.id == id)
        .unwrap_or_else(|| panic!("no rule is called `{id}`"))
}

const fn cell(answer: Answer, ground: Ground) -> Cell {
    Cell { answer, ground }
}

// Refuses, accepts or depends; tested, documented or inferred.
const RT: Cell = cell(Answer::Refuses, Ground::Tested);
const AT: Cell = cell(Answer::Accepts, Ground::Tested);
const RD: Cell = cell(Answer::Refuses, Ground::Documented);
const AD: Cell = cell(Answer::Accepts, Ground::Documented);
const DD: Cell = cell(Answer::Depends, Ground::Documented);
const RI: Cell = cell(Answer::Refuses, Ground::Inferred);
const AI: Cell = cell(Answer::Accepts, Ground::Inferred);
const DI: Cell = cell(Answer::Depends, Ground::Inferred);

const fn row(
    id: &'static str,
    cells: [Cell; 5],
    title: &'static str,
    why: &'static str,
    fix: &'static str,
) -> Rule {
    Rule {
        id,
        title,
        why,
        fix,
        cells,
    }
}

/// Every rule, by subject. The order of the cells is that of [`super::Verifier::ALL`]: rustls, OpenSSL at level 1 and 2,
/// Mbed TLS, modem.
#[rustfmt::skip]
pub static RULES: &[Rule] = &[
    // The file.
    row("der-not-pem", [DD, AT, AT, AD, RD], "the file is DER",
        "sec tags take PEM; most programs that ask for a file want PEM as well",
        "convert it: `openssl x509 -inform der -in FILE -out FILE.pem`"),
    row("pem-crlf", [AT, AT, AT, AD, AD], "lines end in CR LF",
        "everybody reads it, but the bytes under a sec tag differ from the same file with LF, and so does the digest that is compared",
        "remove the carriage returns before it is written to a tag"),
    row("pem-text-around", [AT, AT, AT, AD, DI], "there is text outside BEGIN and END",
        "it is carried along, takes room under the tag, and changes the digest",
        "keep what is between BEGIN and END only: `openssl x509 -in FILE`"),
    row("pem-no-final-newline", [AT, AT, AT, AD, AD], "the last line does not end",
        "put behind another file, its first line would stand on this last one",
        "end the file with a line feed"),
    row("pem-bom", [RT, AT, AT, AD, DI], "a byte order mark stands before the first line",
        "AT commands are ASCII, and rustls does not find the first line",
        "save the file without a byte order mark"),
    row("pem-label", [RD, AT, AT, RD, RI], "the section has another label than CERTIFICATE",
        "only OpenSSL reads TRUSTED CERTIFICATE and X509 CERTIFICATE; the others pass over it",
        "write it again: `openssl x509 -in FILE`"),
    row("key-in-file", [AD, AD, AD, AD, DI], "a private key stands in the same file",
        "whoever is given the certificate is given the key; a sec tag takes them as two entries",
        "put the key into a file of its own, readable by its owner only"),
    row("key-mismatch", [RD, RD, RD, RD, RI], "the private key belongs to another certificate",
        "the handshake fails at the first signature, and the peer's words do not say why",
        "find the pair: compare `openssl pkey -in KEY -pubout` with `openssl x509 -in FILE -pubkey -noout`"),
    row("over-4-kb", [AT, AT, AT, AD, RD], "it is larger than 4 kB",
        "the modem takes a chain of 4 kB, and larger ones have crashed it",
        "use EC keys, send no root, and put one root under the tag"),

    // The chain.
    row("leaf-not-first", [RT, RT, RT, RD, RI], "the end entity is not the first certificate",
        "the first certificate is the one that the peer takes for the other side",
        "put the end entity first, then its issuer, and so on"),
    row("order", [AT, AT, AT, RD, RI], "an issuer does not stand directly behind what it issued",
        "TLS 1.2 asks for that order (RFC 5246 §7.4.2); Mbed TLS looks only at what comes later",
        "put each issuer directly behind what it issued"),
    row("unrelated", [AT, AT, AT, AD, DI], "a certificate has issued none of those before it",
        "it is sent with every handshake and used by nobody",
        "remove it, or put the missing issuer in its place"),
    row("duplicate", [AT, AT, AT, AD, AI], "the same certificate stands there twice",
        "it is sent with every handshake and used once",
        "remove one"),
    row("root-sent", [AT, AT, AT, AD, AI], "the root is among the certificates that are sent",
        "the peer trusts its own copy or none; it is bytes over the air in every handshake",
        "leave it out of the server's chain"),
    row("issuer-not-here", [DD, DD, DD, DD, DI], "the issuer is neither in the file nor among the roots given",
        "when it is an intermediate, the server has to send it: devices do not fetch what is missing",
        "add the intermediate, or give the root with `--roots`"),
    row("bad-signature", [RT, RT, RT, RD, RI], "the issuer's key did not sign it",
        "a CA was made again under its old name, or the text was changed",
        "issue it again by the CA that the peers trust"),
    row("aki-mismatch", [AT, RT, RT, AD, AI], "it asks for an issuer with another key identifier",
        "OpenSSL looks for the issuer by authority key identifier and finds none",
        "issue it again by this CA, or give the peers the CA that it names"),
    row("same-name-as-issuer", [AT, RT, RT, AD, DI], "subject and issuer have the same name, and it is not its own issuer",
        "OpenSSL takes it for self-signed; it happens when CA and server are made with the same answers",
        "give CA and server different names"),
    row("self-signed", [DD, DD, DD, DD, DI], "it is its own issuer",
        "nobody can renew it without touching every device that trusts it",
        "let a CA issue it, and put the CA under the tag"),
    row("path-length", [RT, RT, RT, RD, RI], "more authorities stand below an issuer than its path length allows",
        "the CA above has forbidden this chain",
        "leave out the extra CA, or make its issuer again with a larger path length"),
    row("path-length-root", [AT, RT, RT, RD, RI], "more authorities stand below the root than its path length allows",
        "rustls takes only name and key from a trust anchor, the others check its path length too",
        "leave out the extra CA, or make the root again with a larger path length"),
    row("rustls-other", [RT, DI, DI, DI, DI], "rustls refuses it for another reason",
        "webpki was asked and said no; no rule here foresees its reason",
        "look at what it says"),

    // Form.
    row("x509-v1", [RT, AT, AT, AD, DI], "it is X.509 version 1",
        "version 1 has no extensions: no names, no usages, no limits; `openssl x509 -req` without `-extfile` makes it",
        "issue it again with extensions, so that it becomes version 3"),
    row("x509-v1-root", [AT, AT, AT, AD, DI], "the root is X.509 version 1",
        "nothing in it says that it is an authority; as a trust anchor it is taken all the same",
        "make a root of version 3 with CA:TRUE when you next renew it"),
    row("serial-negative", [AT, AT, AT, AD, AI], "the serial number is negative",
        "RFC 5280 §4.1.2.2 forbids it; tools print it with a sign or refuse to compare it",
        "issue it again with a positive serial number"),
    row("serial-long", [AT, AT, AT, AD, AI], "the serial number is longer than 20 bytes",
        "RFC 5280 §4.1.2.2 allows 20; revocation lists of some tools cannot hold it",
        "issue it again with at most 20 bytes"),
    row("serial-zero", [AT, AT, AT, AD, AI], "the serial number is zero",
        "RFC 5280 §4.1.2.2 asks for a positive one, and two of an issuer could not be told apart",
        "issue it again with a random serial number"),
    row("utctime-19xx", [RT, RT, RT, DD, DI], "a time lies before 1970",
        "a year of two digits from 50 on is of the last century; later years need GeneralizedTime (RFC 5280 §4.1.2.5)",
        "issue it again with an end that the CA's tool can write"),
    row("generalizedtime-early", [AT, AT, AT, AD, AI], "a time before 2050 is written as GeneralizedTime",
        "RFC 5280 §4.1.2.5 asks for UTCTime until 2049; strict readers refuse it",
        "issue it again with a current tool"),
    row("algorithms-disagree", [RT, RT, RT, RD, RI], "it names two signature algorithms",
        "the one inside and the one outside must be the same (RFC 5280 §4.1.1.2)",
        "issue it again"),
    row("ecdsa-parameters", [RT, AT, AT, AD, AI], "its ECDSA signature algorithm has parameters",
        "RFC 5758 §3.2 says that there are none; the CA's tool wrote NULL",
        "issue it again with another tool"),
    row("extension-twice", [RT, RT, RT, RD, RI], "an extension stands there twice",
        "RFC 5280 §4.2 allows each once",
        "issue it again"),

    // Time.
    row("expired", [RT, RT, RT, DD, DI], "it has expired",
        "whoever has a clock refuses it; Mbed TLS without one, and perhaps the modem without network time, takes it",
        "renew it"),
    row("not-yet-valid", [RT, RT, RT, DD, DI], "it is not valid yet",
        "a device's clock may even be behind yours",
        "wait, correct the clock, or issue it with an earlier begin"),
    row("expired-root", [AT, RT, RT, DD, DI], "the root has expired, or is not valid yet",
        "rustls does not look at the dates of a trust anchor, the others do",
        "renew the root under its key, and give it to the peers"),
    row("validity-backwards", [RT, RT, RT, DD, DI], "it ends before it begins",
        "there is no time at which it is valid",
        "issue it again"),
    row("expires-in-30-days", [AT, AT, AT, AD, AI], "it expires within 30 days",
        "devices that sleep for weeks will meet the expired one",
        "renew it now"),
    row("expires-in-90-days", [AT, AT, AT, AD, AI], "it expires within 90 days",
        "a root under a sec tag takes long to replace in the field",
        "plan its renewal"),

    // Keys and signatures.
    row("rsa", [AT, AT, AT, AD, AI], "the key is RSA",
        "an RSA chain is three to four times as large as an EC chain, in every handshake, and close to the modem's 4 kB",
        "use EC P-256 where you may choose"),
    row("rsa-below-1024", [RT, RT, RT, RD, RI], "the RSA key has fewer than 1024 bits",
        "such a key can be broken on a desk",
        "make a new key: EC P-256, or RSA with 2048 bits"),
    row("rsa-below-2048", [RT, AT, RT, RD, DI], "the RSA key has fewer than 2048 bits",
        "rustls, Mbed TLS and OpenSSL at level 2 refuse it",
        "make a new key: EC P-256, or RSA with 2048 bits"),
    row("rsa-above-4096", [AT, AT, AT, AD, RI], "the RSA key has more than 4096 bits",
        "small devices have no room for such numbers",
        "use EC P-256, or RSA with at most 4096 bits"),
    row("rsa-pss-key", [RT, AT, AT, RD, RI], "the RSA key is bound to PSS",
        "few read this kind of key (id-RSASSA-PSS); the usual kind (rsaEncryption) can be used with PSS too",
        "make the key with `-algorithm RSA`"),
    row("curve-p521", [AT, AT, AT, AD, RI], "the key is on P-521",
        "the modem is known to work with P-256 and P-384",
        "use P-256"),
    row("curve-other", [RT, AT, AT, DD, RI], "the curve is none of P-256, P-384 and P-521",
        "TLS stacks for devices leave other curves out",
        "use P-256"),
    row("ed25519", [AT, AT, AT, RD, RI], "the key is Ed25519",
        "Mbed TLS 3 and the modem have no EdDSA",
        "use P-256 for what devices must verify"),
    row("key-other", [RT, AT, AT, RD, RI], "the kind of key is unusual",
        "neither RSA nor ECDSA nor Ed25519",
        "use P-256"),
    row("sha1-signature", [RT, RT, RT, RD, DI], "it is signed with SHA-1",
        "two certificates with one SHA-1 hash can be made",
        "issue it again with SHA-256"),
    row("md5-signature", [RT, RT, RT, RD, RI], "it is signed with MD5 or MD2",
        "two certificates with one MD5 hash can be made on a telephone",
        "issue it again with SHA-256"),

    // Extensions.
    row("critical-extension", [RT, RT, RT, RD, RI], "a critical extension is unknown",
        "who does not know a critical extension must refuse (RFC 5280 §4.2)",
        "issue it again without it, or not critical"),
    row("critical-extension-root", [AT, RT, RT, RD, RI], "a critical extension of the root is unknown",
        "rustls takes only name and key from a trust anchor, the others look at its extensions",
        "make the root again without it, or not critical"),
    row("critical-policy", [RT, AT, AT, DD, DI], "a policy extension is critical",
        "webpki knows no policies, and unknown critical extensions are refused",
        "issue it again with policies that are not critical"),
    row("name-constraints", [AT, AT, AT, RD, RI], "it has critical name constraints",
        "Mbed TLS does not know them, and they are critical",
        "use a CA without name constraints for what devices must verify"),

    // End entities.
    row("cn-only", [RT, AT, AT, AD, AI], "its only name is the common name",
        "rustls, browsers, Go and current Python look at alternative names only",
        "issue it again with subjectAltName"),
    row("no-name", [RT, RT, RT, RD, RI], "it has no name of a server",
        "whoever checks the name refuses it under every name",
        "issue it again with subjectAltName"),
    row("name-mismatch", [RT, RT, RT, RD, RI], "it is for another name",
        "the peer checks the name under which it reached the server",
        "use one of the certificate's names, or issue it again with this one"),
    row("ip-in-dns-san", [RT, RT, RT, DD, DI], "an IP address is written as a DNS name",
        "an address is looked for among the IP names; write IP:127.0.0.1, not DNS:127.0.0.1",
        "issue it again with the address as IP name"),
    row("odd-dns-name", [DI, DI, DI, DI, DI], "a DNS name is written in an unusual way",
        "partial wildcards, blanks and letters outside ASCII are read differently by everybody",
        "write it in letters, digits and hyphens; `*.` only as the whole first label"),
    row("ca-as-end-entity", [RT, AT, AT, AD, AD], "it is an authority and stands as end entity",
        "`openssl req -x509` makes CA:TRUE; the exercise's own broker shows such a certificate, and rustls refuses it",
        "let a CA issue a certificate with CA:FALSE for the server"),
    row("no-server-auth", [RT, RT, RT, RD, RI], "its extended key usage does not allow servers",
        "a certificate made for clients is shown by a server",
        "issue it again with serverAuth"),
    row("no-client-auth", [RT, RT, RT, RD, RI], "its extended key usage does not allow clients",
        "a certificate made for servers is shown by a client",
        "issue it again with clientAuth"),
    row("any-eku", [RT, RT, RT, AD, DI], "its extended key usage says `any` in place of what it is for",
        "webpki and OpenSSL look for the usage itself",
        "issue it again with serverAuth or clientAuth"),
    row("no-digital-signature", [AT, DD, DD, RD, RI], "its key usage does not allow signatures",
        "with ECDHE the end entity signs the handshake; keyEncipherment is of RSA key exchange, which TLS 1.3 has not",
        "issue it again with digitalSignature"),

    // Authorities.
    row("not-a-ca", [RT, RT, RT, RD, RI], "an issuer is no authority",
        "its basic constraints do not say CA:TRUE",
        "issue it again with basicConstraints CA:TRUE"),
    row("root-not-a-ca", [AT, RT, RT, RD, DI], "the root is no authority",
        "rustls takes only name and key from a trust anchor, the others want CA:TRUE",
        "make a root with basicConstraints CA:TRUE"),
    row("no-key-cert-sign", [AT, RT, RT, RD, RI], "an authority may not sign certificates",
        "its key usage lacks keyCertSign",
        "issue it again with keyCertSign"),
    row("ca-eku", [RT, RT, RT, AD, DI], "an authority's extended key usage does not allow what the end entity is for",
        "the purposes of an authority bind what stands below it",
        "use the authority for this purpose, or one without extended key usage"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::{Severity, Verifier};

    #[test]
    fn each_rule_has_one_name_and_all_its_words() {
        for (at, rule) in RULES.iter().enumerate() {
            assert!(
                RULES[..at].iter().all(|other| other.id != rule.id),
                "{}",
                rule.id
            );
            for words in [rule.title, rule.why, rule.fix] {
                assert!(!words.is_empty() && !words.ends_with('.'), "{}", rule.id);
            }
        }
        assert_eq!(rule("expired").severity(), Severity::Refused);
        assert_eq!(rule("self-signed").severity(), Severity::Warning);
        assert_eq!(rule("rsa").severity(), Severity::Note);
        assert_eq!(rule("x509-v1").refused_by(), [Verifier::Rustls]);
        assert_eq!(rule("x509-v1").depends_for(), [Verifier::Modem]);
    }
}
