//! Our own client: what `mqtt.client.*` and the files it names make of a connection.

use std::path::Path;

use sectag_gateway::facts::{Facts, What};
use sectag_gateway::{Client, Level};
use sectag_mqtt::{ConnectOptions, Transport};

use super::{Check, Papers, Questions, Report, Session, client_id, said, version_name};

/// Our own client, connected as the services of this machine do.
pub async fn own(questions: &Questions<'_>) -> Check {
    let mut report = Report::default();
    own_client(&mut report, questions).await;
    report.checks.remove(0)
}

pub(super) async fn own_client(report: &mut Report, questions: &Questions<'_>) {
    const NAME: &str = "our-client";
    let client = &questions.settings.client;
    let at = format!("{}:{}", client.host, client.port.value);
    if questions.facts.machine.is_own(&client.host) == Some(false) {
        let why = "mqtt.client.host is another machine".to_owned();
        return report.add(NAME, at, "let in", None, why);
    }
    let (holds, got) = match own_session(questions).await {
        Ok((session, _incoming)) => {
            let traffic = session.traffic();
            let how = match (traffic.tls_version, traffic.cipher_suite) {
                (Some(version), Some(suite)) => {
                    format!("let in over {} {suite}", version_name(version))
                }
                _ => "let in without TLS".to_owned(),
            };
            let _ = session.disconnect().await; // it ends either way
            (true, how)
        }
        Err(why) => (false, why),
    };
    report.add(NAME, at, "let in", holds, got);
}

/// Connects as the services of this machine do: host, port, TLS, user name and password of `mqtt.client.*`.
pub(crate) async fn own_session(questions: &Questions<'_>) -> Result<Session, String> {
    let client = &questions.settings.client;
    let transport = transport(client, questions.facts)?;
    let mut options = ConnectOptions::new(client_id());
    options.timeout = questions.patience;
    options.user_name.clone_from(&client.username);
    if let Some(path) = &client.password_file {
        options.password = Some(password(path)?.into());
    }
    let host = client.host.to_string();
    let port = client.port.value.get();
    sectag_mqtt::Client::connect(&host, port, transport, options)
        .await
        .map_err(|error| said(&error))
}

/// The first line of a password file, without its end.
fn password(path: &Path) -> Result<Vec<u8>, String> {
    let content = sectag_keep::content(path).map_err(|error| said(&error))?;
    let content = content.ok_or_else(|| format!("`{}` does not exist", path.display()))?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    match line.strip_suffix(b"\r").unwrap_or(line) {
        [] => Err(format!(
            "`{}` has no password in its first line",
            path.display()
        )),
        line => Ok(line.to_vec()),
    }
}

/// The TLS of our clients, or why there is none.
fn transport(client: &Client, facts: &Facts) -> Result<Transport, String> {
    if client.level() == Level::None {
        return Ok(Transport::Plain);
    }
    let roots: String = facts
        .trusted_by_client(client)
        .iter()
        .map(|trusted| sectag_pki::pem::encode("CERTIFICATE", &trusted.held.der))
        .collect();
    let papers = match (&client.cert_file, &client.key_file) {
        (None, None) => None,
        _ => Some(own_papers(client)?),
    };
    let identity = papers
        .as_ref()
        .map(|(chain, key)| (chain.as_str(), key.as_str()));
    let config = sectag_mqtt::client::tls_config(&roots, identity).map_err(|e| said(&e))?;
    let name = client.server_name.as_ref().unwrap_or(&client.host);
    Ok(Transport::tls(name.to_string(), config))
}

/// Certificate chain and key of our client.
pub(super) fn own_papers(client: &Client) -> Result<Papers, String> {
    let (Some(cert), Some(key)) = (&client.cert_file, &client.key_file) else {
        return Err(
            "no client certificate is configured here (mqtt.client.auth.cert_file and key_file)"
                .to_owned(),
        );
    };
    let text = |path: &Path| match sectag_keep::content(path) {
        Ok(Some(bytes)) => String::from_utf8(bytes.to_vec())
            .map_err(|_| format!("`{}` is not PEM", path.display())),
        Ok(None) => Err(format!("`{}` does not exist", path.display())),
        Err(error) => Err(said(&error)),
    };
    Ok((text(cert)?, text(key)?))
}

/// The common name of our client certificate.
pub(super) fn own_name(questions: &Questions<'_>) -> Option<String> {
    let path = questions.settings.client.cert_file.as_ref()?;
    let What::File(file) = &questions.facts.at(path)?.what else {
        return None;
    };
    let identity = sectag_pki::identity(&file.material.certificates.first()?.der).ok()?;
    Some(identity.cn)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_and_its_absence_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        assert!(password(&file).unwrap_err().contains("does not exist"));
        std::fs::write(&file, "secret\r\nnext\n").unwrap();
        assert_eq!(password(&file).unwrap(), b"secret");
        std::fs::write(&file, "\nsecret").unwrap();
        assert!(password(&file).unwrap_err().contains("no password"));
    }
}
