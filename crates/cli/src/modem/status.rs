//! `sectag modem status`: what lies in a virtual modem's state, also while it is served.

use super::hinted;
use crate::args::StoredModem;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_modem::inspect;
use serde_json::json;

pub(super) fn status(place: &Place, which: &StoredModem, as_json: bool) -> Outcome {
    let dir = match (&which.state, &which.name) {
        (Some(dir), _) => dir.clone(),
        (None, name) => place
            .home
            .join("devices")
            .join(name.as_deref().unwrap_or("device-1")),
    };
    let found = inspect(&dir).map_err(|error| hinted(error.hint(), error))?;
    let modem = found.ok_or_else(|| {
        Fault::untried(format!("there is no virtual modem in `{}`", dir.display()))
            .hint("its first use makes it: `sectag modem serve`, `sectag device token`")
    })?;
    if as_json {
        let entries: Vec<_> = modem
            .entries
            .iter()
            .map(|(tag, kind, bytes)| json!({ "secTag": tag, "type": kind.0, "bytes": bytes }))
            .collect();
        output::json(&json!({
            "id": modem.device,
            "imei": modem.imei,
            "firmware": modem.firmware_name,
            "flashWrites": modem.flash_writes,
            "entries": entries,
        }));
        return Ok(());
    }
    let mut text = format!(
        "device        {}\nIMEI          {}\nfirmware      {}\nflash writes  {}\n",
        modem.device, modem.imei, modem.firmware_name, modem.flash_writes
    );
    for (tag, kind, bytes) in &modem.entries {
        text.push_str(&format!("sec tag {tag:<5} {kind}, {bytes} bytes\n"));
    }
    output::print(&text);
    Ok(())
}
