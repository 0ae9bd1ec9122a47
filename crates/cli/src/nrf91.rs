//! `sectag nrf91`: what a firmware project needs to reach this service (spec/device-protocol §14, §15).

use crate::args::{Kconfig, Nrf91};
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use rustls_pki_types::ServerName;
use sectag_keep as keep;
use sectag_pki::header::{self, Options, Style};
use sectag_pki::{CertificateFacts, pem, show};
use sectag_server::Settings;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Name of the overlay, to be given to the build: `west build … -- -DEXTRA_CONF_FILE=sectag.conf`.
const OVERLAY: &str = "sectag.conf";
/// Name of the header, and of what is in it.
const HEADER: &str = "sectag_root_ca.h";
const ARRAY: &str = "sectag_root_ca";
const GUARD: &str = "SECTAG_ROOT_CA_H_";
/// The samples' tags of the root CA.
const TAG_HTTPS: u32 = 50;
/// See [`TAG_HTTPS`].
const TAG_COAP: u32 = 42;
/// What a modem stores under one tag and type; a larger file would be refused by `%CMNG`.
const ROOT_BYTES_MAX: usize = 4096;

/// `sectag nrf91`
pub(crate) fn nrf91(place: &Place, verb: Nrf91, as_json: bool) -> Outcome {
    let Nrf91::Kconfig(args) = verb;
    kconfig(place, &args, as_json)
}

/// What the overlay says.
struct Target {
    host: String,
    port: u16,
    sec_tag: u32,
    coap: bool,
}

fn kconfig(place: &Place, args: &Kconfig, as_json: bool) -> Outcome {
    let settings = settings(place)?;
    let host = match args
        .host
        .clone()
        .or_else(|| settings.names.first().cloned())
    {
        Some(host) => host,
        None => {
            return Err(
                Fault::untried("no name is known under which devices reach this service")
                    .hint("give --host NAME, and put it into the certificate: `sectag config --service add names NAME`"),
            );
        }
    };
    check_host(&host)?;
    let listens = listens(place, &settings, args.coap);
    let port = match args.port.unwrap_or_else(|| listens.port()) {
        0 => {
            return Err(Fault::untried("the service listens on any free port")
                .hint("give --port, and let it listen there: `sectag config --service set listen.device 0.0.0.0:8443`"));
        }
        port => port,
    };
    let target = Target {
        host,
        port,
        sec_tag: args
            .sec_tag
            .unwrap_or(if args.coap { TAG_COAP } else { TAG_HTTPS }),
        coap: args.coap,
    };
    let root = args
        .ca
        .clone()
        .unwrap_or_else(|| place.home.join("ca/root.crt"));
    let (overlay, header) = (overlay(&target), root_header(&root)?);
    for note in notes(place, &target, args, listens) {
        eprintln!("note: {note}");
    }
    match &args.out {
        None if as_json => output::json(&json!({ "kconfig": overlay, "header": header })),
        None => {
            output::print(&overlay);
            eprintln!(
                "\nThe root CA belongs under sec tag {} before the first session; --out DIR writes it as {HEADER}",
                target.sec_tag
            );
        }
        Some(out) => {
            std::fs::create_dir_all(out).map_err(|error| {
                Fault::untried(format!(
                    "cannot make the folder `{}`: {error}",
                    out.display()
                ))
            })?;
            let files = [(OVERLAY, overlay), (HEADER, header)];
            let mut paths: Vec<PathBuf> = Vec::new();
            for (name, text) in &files {
                let path = out.join(name);
                keep::write_public(&path, text.as_bytes())?;
                paths.push(path);
            }
            if as_json {
                output::json(&json!({ "kconfig": paths[0], "header": paths[1] }));
            } else {
                for path in &paths {
                    output::print(&format!("{}\n", path.display()));
                }
                eprintln!(
                    "build with -DEXTRA_CONF_FILE={}; how the root CA gets under tag {}: docs/guides/real-nrf91.md",
                    paths[0].display(),
                    target.sec_tag
                );
            }
        }
    }
    Ok(())
}

/// As `sectag up` would read them.
fn settings(place: &Place) -> Outcome<Settings> {
    let path = place.home.join("sectag.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Fault::untried(format!(
                "cannot read `{}`: {error}",
                path.display()
            )));
        }
    };
    let settings = Settings::parse(&text, &path.display().to_string())?;
    Ok(settings.with_environment(std::env::vars())?)
}

/// Where the running service listens, else where it would.
fn listens(place: &Place, settings: &Settings, coap: bool) -> SocketAddr {
    let (name, set) = if coap {
        ("coap", settings.listen.coap)
    } else {
        ("device", settings.listen.device)
    };
    place
        .running()
        .filter(is_alive)
        .and_then(|run| run["listeners"][name].as_str()?.parse().ok())
        .unwrap_or(set)
}

/// A service that was killed leaves its file behind.
fn is_alive(run: &Value) -> bool {
    let pid = run["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn check_host(host: &str) -> Outcome {
    match ServerName::try_from(host) {
        Ok(ServerName::DnsName(_)) => Ok(()),
        Ok(_) => Err(Fault::untried(format!(
            "`{host}` is an address, and the modem compares names"
        ))
        .hint("give the service a name in DNS; the firmware resolves it at each session")),
        Err(_) => Err(Fault::untried(format!("`{host}` is no host name"))
            .hint("give the name alone, like provisioning.example.org; the port goes to --port")),
    }
}

fn overlay(target: &Target) -> String {
    let Target {
        host,
        port,
        sec_tag,
        coap,
    } = target;
    let transport = if *coap {
        format!(
            "CONFIG_NRF_PROVISIONING_COAP=y\n\
             CONFIG_NRF_PROVISIONING_COAP_HOSTNAME=\"{host}\"\n\
             CONFIG_NRF_PROVISIONING_COAP_PORT=\"{port}\"\n"
        )
    } else {
        format!(
            "CONFIG_NRF_PROVISIONING_HTTP=y\n\
             CONFIG_NRF_PROVISIONING_HTTP_HOSTNAME=\"{host}\"\n\
             CONFIG_NRF_PROVISIONING_HTTP_PORT={port}\n"
        )
    };
    format!(
        "# Points the provisioning library of the nRF Connect SDK at {host}:{port}.\n\
         CONFIG_NRF_PROVISIONING=y\n\
         {transport}\
         # The service's certificate must chain to the root CA under this tag ({HEADER}).\n\
         CONFIG_NRF_PROVISIONING_ROOT_CA_SEC_TAG={sec_tag}\n\
         # y writes the vendor's root CA into the tag when it is empty.\n\
         CONFIG_NRF_PROVISIONING_WITH_CERT=n\n\
         # A certificate and the head of its answer do not fit 1024 bytes in every case.\n\
         CONFIG_NRF_PROVISIONING_RX_BUF_SZ=2048\n"
    )
}

fn root_header(path: &Path) -> Outcome<String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Fault::untried(format!("no root CA at `{}`: {error}", path.display()))
            .hint("`sectag up` makes one when it first starts; for a public certificate give its authority's root with --ca")
    })?;
    let facts = certificate(&text, path)?;
    if !facts.is_ca {
        return Err(Fault::untried(format!(
            "`{}` holds no root CA but the certificate of {}",
            path.display(),
            facts.subject
        ))
        .hint("devices trust the root; `sectag cert chain HOST:PORT` shows a server's chain"));
    }
    if text.len() > ROOT_BYTES_MAX {
        return Err(Fault::untried(format!(
            "`{}` has {} bytes, and a modem takes {ROOT_BYTES_MAX} under one tag",
            path.display(),
            text.len()
        ))
        .hint("give the one root that the service's certificate chains to"));
    }
    let rendered = header::render(
        text.trim_end().as_bytes(),
        &Options {
            style: Style::String,
            name: ARRAY,
            line_length: None,
            guard: Some(GUARD),
        },
    )?;
    Ok(rendered.as_str().to_owned())
}

fn certificate(text: &str, path: &Path) -> Outcome<CertificateFacts> {
    let ders = pem::certificates(text)
        .map_err(|error| Fault::untried(format!("`{}`: {error}", path.display())))?;
    // `certificates` gives at least one.
    Ok(show(&ders[0])?)
}

/// What would keep a device out.
fn notes(place: &Place, target: &Target, args: &Kconfig, listens: SocketAddr) -> Vec<String> {
    let mut notes = Vec::new();
    let server = place.home.join("tls/server.crt");
    let names = std::fs::read_to_string(&server)
        .ok()
        .and_then(|text| certificate(&text, &server).ok())
        .map(|facts| facts.names);
    if args.ca.is_none()
        && let Some(names) = names
        && !names.iter().any(|name| {
            name.strip_prefix("DNS:")
                .is_some_and(|name| name.eq_ignore_ascii_case(&target.host))
        })
    {
        notes.push(format!(
            "the service's certificate does not name `{}`; `sectag config --service add names {}`, then start it again",
            target.host, target.host
        ));
    }
    if listens.ip().is_loopback() {
        let key = if target.coap { "coap" } else { "device" };
        notes.push(format!(
            "the service listens on {listens}, where no device gets to; `sectag config --service set listen.{key} 0.0.0.0:{}`",
            target.port
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name() {
        assert!(check_host("provisioning.example.org").is_ok());
        for wrong in [
            "192.0.2.1",
            "::1",
            "a b",
            "https://example.org",
            "example.org:8443",
            "",
        ] {
            assert!(check_host(wrong).is_err(), "{wrong}");
        }
    }
}
