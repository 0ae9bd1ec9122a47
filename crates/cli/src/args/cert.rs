//! `sectag cert`: what can be typed.

use super::{Create, CreateCsr, Crl, Issue, ListIssued, Reissue, Renew, Revoke, Subject, Which};
use crate::modem_choice::{self, Choice};
use clap::{Args, Subcommand, ValueEnum};
use sectag_proto::SecTag;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Show what a certificate file says; without a file, the device certificate
    Show(ShowCert),
    /// Issue a certificate with a new key, from this home's CAs
    Issue {
        #[command(subcommand)]
        verb: Issue,
    },
    /// List what was issued here
    List(ListIssued),
    /// Renew what was issued here, beside the old pair; without a name, the device certificate
    ///
    /// The new pair is written as NAME.crt.new and NAME.key.new. `sectag gateway apply` puts it in place and proves it by a
    /// connection, and brings the old one back if that fails; --now puts it in place unproved.
    Renew(Renew),
    /// Revoke a certificate that was issued here; brokers learn it from HOME/ca/devices.crl
    Revoke(Revoke),
    /// Print the revocation list of this home's clients' CA, PEM
    Crl(Crl),
    /// Must it be renewed? Exit code 0: yes, 1: no, 2: that cannot be told
    ///
    /// The sense of the codes is thin-edge.io's, for its timers; `sectag cert check` has the usual one.
    NeedsRenewal(Subject),
    /// Is it in order? Exit code 0: yes, 1: it ends soon, has ended, or is revoked, 2: that cannot be told
    Check(Subject),
    /// Issue a version 3 certificate for a key that is kept elsewhere: from its request, or from an old certificate
    ///
    /// `openssl x509 -req` without extensions writes X.509 version 1, which our clients and our broker refuse; mosquitto
    /// admits it. Its request is still there: `sectag cert reissue client.csr --client --ca ca.crt --ca-key ca.key`.
    Reissue(Reissue),
    /// Make a self-signed device certificate and its key (device.cert_path, device.key_path)
    Create(Create),
    /// Make a certificate request for the device's key
    CreateCsr(CreateCsr),
    /// Remove the device certificate and its key
    Remove,
    /// Say which TLS stack will refuse a certificate, and why
    ///
    /// Exit code 1: somebody refuses it. The table of rules, with the ground of each answer, is printed by --rules.
    Lint(Lint),
    /// Fetch the chain that a server sends, find its root, and put that under a sec tag
    ///
    /// Nothing is sent over the connection, so a server that nobody trusts yet may be asked. The root is what a device
    /// should trust: intermediates change. It is taken from the chain, or from the roots known here; one that is nowhere is
    /// said to be missing. Exit code 1: the chain is not trusted, or the root is missing.
    Chain(Chain),
    /// Write certificates as a C header, to be compiled into firmware
    ///
    /// Without a file it does what the exercise's crt_to_header.py does: it reads server_certificate.crt and writes the macro
    /// CA_CERTIFICATE to src/certificate.h. In every style sizeof(NAME) - 1 is the length of the text.
    Header(Header),
    /// Write the AT commands that put certificates under a sec tag, for pasting into a terminal
    ///
    /// Only the script goes to stdout; the digests that the modem must list afterwards go to stderr.
    AtScript(AtScript),
}

#[derive(Debug, Args)]
pub(crate) struct ShowCert {
    /// PEM or DER file, every certificate in it is shown; or a name in the register (`sectag cert list`)
    #[arg(value_name = "FILE|NAME", conflicts_with_all = ["cert_path", "new"])]
    pub(crate) file: Option<PathBuf>,
    /// A file, shown as the device certificate is
    #[arg(long, value_name = "FILE")]
    pub(crate) cert_path: Option<PathBuf>,
    /// The renewed certificate that waits beside it
    #[arg(long)]
    pub(crate) new: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// PEM or DER files; the certificates of a file are taken as a chain, end entity first, and roots given beside it are
    /// known to it
    #[arg(required_unless_present = "rules")]
    pub(crate) files: Vec<PathBuf>,
    /// Private key of the end entity; is it the one?
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Roots that the peers trust: a PEM file, or a directory of them
    #[arg(long, value_name = "PATH")]
    pub(crate) roots: Option<PathBuf>,
    /// Name or address under which the server is reached
    #[arg(long, value_name = "NAME", conflicts_with = "client")]
    pub(crate) name: Option<String>,
    /// The end entity is a server [default: what its extended key usage says]
    #[arg(long, conflicts_with = "client")]
    pub(crate) server: bool,
    /// The end entity is a client
    #[arg(long)]
    pub(crate) client: bool,
    /// Only what this one refuses decides the exit code (repeat for several) [default: all]
    #[arg(long = "for", value_name = "VERIFIER")]
    pub(crate) verifiers: Vec<LintFor>,
    /// Print the table of rules
    #[arg(long, conflicts_with_all = ["files", "key", "roots", "name", "server", "client", "verifiers"])]
    pub(crate) rules: bool,
}

/// Who looks at a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintFor {
    /// rustls with webpki and aws-lc
    Rustls,
    /// OpenSSL 3.0 at security level 1
    #[value(name = "openssl-1")]
    OpenSsl1,
    /// OpenSSL 3.0 at security level 2, the default of Debian and Ubuntu
    #[value(name = "openssl-2")]
    OpenSsl2,
    /// Mbed TLS 3 with its default profile
    #[value(name = "mbedtls")]
    MbedTls,
    /// The nRF91 modem
    Modem,
}

#[derive(Debug, Args)]
pub(crate) struct Chain {
    /// Host and port, e.g. test.mosquitto.org:8883; IPv6 in brackets
    #[arg(value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) server: HostPort,
    /// Name that is asked for and checked [default: HOST]
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Protocol to offer by ALPN, e.g. mqtt (repeat for several)
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) alpn: Vec<String>,
    /// Roots to trust beside the system's: a PEM file, or a directory of them
    #[arg(long, value_name = "PATH")]
    pub(crate) roots: Option<PathBuf>,
    /// Leave the system's roots aside
    #[arg(long)]
    pub(crate) no_system_roots: bool,
    /// Print each certificate as PEM as well, in the order in which they were sent
    #[arg(long)]
    pub(crate) showcerts: bool,
    /// Write the root as PEM; `-` is stdout, with nothing beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write the root under this sec tag, 0 to 2147483647; asks for the fingerprint
    #[arg(long, value_name = "SEC_TAG")]
    pub(crate) to_tag: Option<SecTag>,
    #[arg(long, value_name = "MODEM", default_value_t, help = format!("Whose sec tag: {}", modem_choice::HELP))]
    pub(crate) modem: Choice,
    #[command(flatten)]
    pub(crate) which: Which,
    /// SHA-256 of the certificate that the operator told you; it is taken only when equal, and then trusted
    #[arg(long, value_name = "HEX")]
    pub(crate) fingerprint: Option<String>,
    /// Take the certificate as it came, without a fingerprint
    #[arg(long)]
    pub(crate) yes: bool,
    /// Take the intermediate with this common name in place of the root; it may change at any renewal
    #[arg(long, value_name = "NAME")]
    pub(crate) intermediate: Option<String>,
    /// Limit for connection and handshake, each
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Header {
    /// PEM or DER files [default: server_certificate.crt]
    pub(crate) files: Vec<PathBuf>,
    /// Where to write; `-` is stdout [default: stdout; without files src/certificate.h]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// How the text is written
    #[arg(long, default_value = "macro")]
    pub(crate) style: HeaderStyle,
    /// Name of the macro or array, one for each file [default: CA_CERTIFICATE, CLIENT_CERTIFICATE, PRIVATE_KEY by what is
    /// in the file; in small letters for arrays]
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Columns of a line at most [default: a line of the file is a line of the header]
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) line_length: Option<usize>,
    /// Put an include guard of this name around it
    #[arg(long, value_name = "NAME")]
    pub(crate) guard: Option<String>,
    /// Write private keys as well. For tests only: who has the firmware has the key
    #[arg(long)]
    pub(crate) include_private_key_in_firmware: bool,
    /// Stop at a private key in any case
    #[arg(long)]
    pub(crate) no_test_keys: bool,
}

/// How a header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HeaderStyle {
    /// `#define NAME \` and quoted lines, as the exercise has it
    Macro,
    /// `static const char NAME[] =` and quoted lines
    String,
    /// `static const unsigned char NAME[]` and bytes in hexadecimal, 0x00 behind them
    Bytes,
    /// Quoted lines alone, to be #included between braces as the SDK's sample does
    Lines,
}

#[derive(Debug, Args)]
pub(crate) struct AtScript {
    /// PEM or DER files: a CA, a client certificate, a private key; each is recognised
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Sec tag, 0 to 2147483647
    #[arg(long, value_name = "SEC_TAG")]
    pub(crate) sec_tag: SecTag,
    /// For the firmware's shell: `at '…'` with backslash-n, which it turns into CR LF
    #[arg(long)]
    pub(crate) shell: bool,
    /// Delete what lies under the tag first
    #[arg(long)]
    pub(crate) delete_first: bool,
    /// Where to write; `-` is stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Write private keys as well. For tests only: who has the script has the key
    #[arg(long)]
    pub(crate) include_private_key_in_script: bool,
    /// Stop at a private key in any case
    #[arg(long)]
    pub(crate) no_test_keys: bool,
}

/// Host and port as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: String,
    pub(crate) port: u16,
}

fn host_and_port(text: &str) -> Result<HostPort, String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return Err(format!(
            "give host and port without `{scheme}://`, like {rest}"
        ));
    }
    let missing = || format!("the port is missing; give it behind a colon, like {text}:8883");
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => {
            return Err(format!(
                "the port is missing; give it behind a colon, like [{host}]:8883"
            ));
        }
        Some((host, rest)) => (host, rest.strip_prefix(':').ok_or_else(missing)?),
        None if text.matches(':').count() > 1 => {
            return Err(format!(
                "an IPv6 address stands in brackets, like [{text}]:8883"
            ));
        }
        None => text.split_once(':').ok_or_else(missing)?,
    };
    if host.is_empty() {
        return Err(format!(
            "the host is missing; give it before the colon, like localhost:{port}"
        ));
    }
    match port.parse() {
        Ok(port @ 1..) => Ok(HostPort {
            host: host.to_owned(),
            port,
        }),
        _ => Err(format!(
            "`{port}` is no port; ports are 1 to 65535, MQTT over TLS is 8883"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read_and_mistakes_are_named() {
        for (text, host, port) in [
            ("localhost:8883", "localhost", 8883),
            ("[::1]:1", "::1", 1),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
        ] {
            let read = host_and_port(text).unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port));
        }
        for (text, word) in [
            ("localhost", "like localhost:8883"),
            ("[::1]", "like [::1]:8883"),
            ("::1", "in brackets"),
            (":8883", "host is missing"),
            ("a:0", "no port"),
            ("a:x", "no port"),
            ("https://a:443/", "like a:443"),
        ] {
            let error = host_and_port(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
