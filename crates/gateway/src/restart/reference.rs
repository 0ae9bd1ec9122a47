//! The table of restarts for people.

use std::fmt::Write as _;

use super::{Broker, Keys, ROWS, Regenerate, Services, ThirdParties};

/// The page `docs/reference/gateway-restarts.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Who restarts after which change\n\n\
         Services read the configuration once, at start, and mosquitto rereads little. `sectag gateway apply` does what the\n\
         table says, in this order: write the files, test them, reload or restart the broker, wait until its listeners\n\
         complete a handshake, probe them, restart the services, look at their health. Services of other hosts and clients\n\
         that are not ours are named in the plan, and yours to tell.\n\n\
         | Changed | File of the broker | Broker | Services here | Services elsewhere | Other clients | Why |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in ROWS {
        let changed = match row.keys {
            Keys::Named(names) => names
                .iter()
                .map(|name| match name.strip_suffix('.') {
                    Some(group) => format!("`{group}.*`"),
                    None => format!("`{name}`"),
                })
                .collect::<Vec<String>>()
                .join(", "),
            Keys::Content(_) => row.keys.label().to_owned(),
        };
        let file = match row.regenerate {
            Regenerate::No => "–",
            Regenerate::Yes => "written anew",
            Regenerate::IfItBridges => "if it bridges to the cloud",
        };
        let broker = match row.broker {
            Broker::No => "–",
            Broker::Reload => "reload",
            Broker::Restart => "**restart**",
            Broker::RestartIfItBridges => "restart if it bridges to the cloud",
        };
        let services = match row.services {
            Services::No => "–".to_owned(),
            Services::Restart => "restart".to_owned(),
            Services::IfTheyUseIt => "restart if `mqtt.client.port` leads to it".to_owned(),
            Services::Some(names) => format!("restart {}", names.join(", ")),
            Services::Reconnect => "reconnect the cloud".to_owned(),
        };
        let remote = if row.remote { "restart" } else { "–" };
        let others = match row.third_parties {
            ThirdParties::No => "–",
            ThirdParties::Adapt => "adapt",
            ThirdParties::IfTheAuthorityChanges => "trust the new CA, if it is another",
            ThirdParties::NewCertificates => "certificates from a trusted CA, before the change",
            ThirdParties::SessionsStay => "open sessions of revoked clients stay until a restart",
        };
        let reason = row.reason;
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| {changed} | {file} | {broker} | {services} | {remote} | {others} | {reason} |"
        );
    }
    page.push_str(
        "\nWhen security is tightened, clients come first: the CA of the broker before the listener speaks TLS, their\n\
         certificates before it requires them. When a CA is replaced, both are trusted everywhere before leaf certificates\n\
         change; then the old one goes.\n",
    );
    page
}
