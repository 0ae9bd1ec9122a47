//! `--gateway`: the broker and the credentials of the keys `mqtt.client.*`.

use super::words::no_link_explained;
use crate::args::{Global, Link};
use crate::config;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use sectag_device::link::{LinkError, LinkOptions, MqttLink};
use sectag_device::{Explanation, GatewayClient};
use sectag_gateway::findings::{self, Finding};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A client by keys, and how long it tries.
pub(crate) struct Gateway {
    pub(crate) client: GatewayClient,
    patience: Option<Duration>,
    /// From `--config-dir`: commands in a fix are about this directory.
    directory: Option<PathBuf>,
}

impl Gateway {
    pub(super) fn new(global: &Global, place: &Place, link: &Link) -> Outcome<Self> {
        let client = client(global, place)?;
        Ok(Self {
            client,
            patience: Some(Duration::from_secs(link.keys.connection_timeout))
                .filter(|patience| !patience.is_zero()),
            directory: global.config_dir.clone(),
        })
    }

    /// Connects; what stands in the way and may pass is said once. `again`: a connection was lost.
    pub(super) async fn open(&self, options: &LinkOptions, again: bool) -> Outcome<MqttLink> {
        let mut said = None;
        let mut observe = |error: &LinkError| {
            let cause = error.explain().map(|explanation| explanation.cause);
            if said != cause {
                said = cause;
                eprintln!("waiting: {error}");
            }
        };
        let (client, patience) = (&self.client, self.patience);
        let opened = if again {
            client.open_again(options, patience, &mut observe).await
        } else {
            client.open(options, patience, &mut observe).await
        };
        let link = opened.map_err(|error| {
            if let LinkError::Gateway(unready) = &error {
                return fault_of(&unready.finding, self.directory.as_deref());
            }
            let mut explanation = error.explain();
            if let Some(explanation) = &mut explanation {
                self.with_directory(explanation);
            }
            no_link_explained(error, explanation)
        })?;
        for warning in link.warnings() {
            eprintln!("warning: {}\n  {}", warning.sentence, warning.fix);
        }
        Ok(link)
    }

    /// Commands about the directory that was given.
    pub(super) fn with_directory(&self, explanation: &mut Explanation) {
        if let Some(directory) = &self.directory {
            explanation.fix = in_directory(&explanation.fix, directory);
        }
    }
}

/// The settings; what is odd about them is said.
pub(crate) fn client(global: &Global, place: &Place) -> Outcome<GatewayClient> {
    let (_, settings) = config::load(global, place)?;
    let client = GatewayClient::new(settings).on(sectag_host::machine::unresolved());
    let found = client.findings();
    // An error will be all that is said.
    if !findings::has_error(&found) {
        for Finding { sentence, fix, .. } in found {
            eprintln!("warning: {sentence}\n  {fix}");
        }
    }
    Ok(client)
}

/// A finding that keeps a client from connecting.
pub(crate) fn unready(global: &Global, finding: &Finding) -> Fault {
    fault_of(finding, global.config_dir.as_deref())
}

/// In the form that every command has for it (spec/gateway-config §6.1, RULE 11).
fn fault_of(finding: &Finding, directory: Option<&Path>) -> Fault {
    let mut finding = finding.clone();
    if let Some(directory) = directory {
        finding.fix = in_directory(&finding.fix, directory);
    }
    let text = finding.to_string();
    Fault::untried(text.strip_prefix("error: ").unwrap_or(&text))
}

pub(crate) fn in_directory(fix: &str, directory: &Path) -> String {
    let given = format!(
        " --config-dir {}",
        sectag_gateway::findings::shell(directory)
    );
    ["config", "gateway"]
        .into_iter()
        .fold(fix.to_owned(), |fix, verb| {
            fix.replace(
                &format!("sectag {verb} "),
                &format!("sectag{given} {verb} "),
            )
        })
}
