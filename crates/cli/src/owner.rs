//! The owner's verbs about devices, `sectag claim` and `sectag devices`, and `sectag status`.

use crate::args::{Claim, Devices, ListDevices};
use crate::client::{Owner, segment};
use crate::commands::{onboarding, queue};
use crate::fault::Outcome;
use crate::home::Place;
use crate::output::{self, show, text_of};
use serde_json::{Value, json};

/// `sectag claim`
pub(crate) async fn claim(owner: &Owner, place: &Place, args: Claim, as_json: bool) -> Outcome {
    let token = match args.token {
        None => return crate::claim_bulk::claim_from(owner, &args, as_json).await,
        Some(token) if token == "-" => output::from_stdin()?,
        Some(token) => token,
    };
    let mut body = json!({ "claimToken": token.trim() });
    if !args.tags.is_empty() {
        body["tags"] = json!(args.tags);
    }
    if args.accept_new_key {
        body["acceptNewKey"] = json!(true);
    }
    if args.dry_run {
        owner.post("/v1/claimed-devices?dryrun=true", &body).await?;
        eprintln!("this device can be claimed");
        return Ok(());
    }
    let way = args.onboard.map(|tag| onboarding(place, tag.get()));
    let way = way.transpose()?;
    let device = owner.post("/v1/claimed-devices", &body).await?;
    let id = text_of(&device, "id");
    if let Some(commands) = way {
        queue(owner, &id, commands, None).await?;
    }
    if as_json {
        output::json(&device);
    } else {
        output::print(&format!("{id}\n"));
        match args.onboard {
            Some(sec_tag) => {
                eprintln!("claimed; key, certificate and root CA for sec tag {sec_tag} are queued")
            }
            None => {
                eprintln!("claimed; queue what it shall get with `sectag commands onboard {id}`")
            }
        }
    }
    Ok(())
}

/// `sectag devices`
pub(crate) async fn devices(owner: &Owner, verb: Option<Devices>, as_json: bool) -> Outcome {
    match verb.unwrap_or_else(|| Devices::List(ListDevices::default())) {
        Devices::List(args) => crate::people::devices(owner, args, as_json).await?,
        Devices::Show { device } => {
            let found = owner
                .get(&format!("/v1/claimed-devices/{}", segment(&device)?))
                .await?;
            show(&found, as_json);
        }
        Devices::Unclaim { device } => {
            owner
                .delete(&format!("/v1/claimed-devices/{}", segment(&device)?))
                .await?;
            eprintln!(
                "{device} is no longer claimed; its certificates are revoked, its key stays known"
            );
        }
        Devices::Tag {
            device,
            tags,
            none: _,
        } => {
            crate::people::tag(owner, &device, &tags, as_json).await?;
        }
        Devices::Block { device } => block(owner, &device, true).await?,
        Devices::Unblock { device } => block(owner, &device, false).await?,
        Devices::Reset { device } => reset(owner, &device, as_json).await?,
        Devices::Register(args) => crate::registration::register(owner, args, as_json).await?,
        Devices::Revoke(args) => crate::registration::revoke(owner, args, as_json).await?,
    }
    Ok(())
}

async fn reset(owner: &Owner, device: &str, as_json: bool) -> Outcome {
    let path = format!("/v1/claimed-devices/{}/reset", segment(device)?);
    let done = owner.post(&path, &json!({})).await?;
    if as_json {
        output::json(&done);
        return Ok(());
    }
    let count = |member: &str| done[member].as_array().map_or(0, Vec::len);
    eprintln!(
        "{device} is reset; rules that apply again: {}, open commands discarded: {}, ended ones removed: {}",
        count("rules"),
        count("discarded"),
        count("removed")
    );
    Ok(())
}

async fn block(owner: &Owner, device: &str, blocked: bool) -> Outcome {
    owner
        .patch(
            &format!("/v1/claimed-devices/{}", segment(device)?),
            &json!({ "blocked": blocked }),
        )
        .await?;
    eprintln!(
        "{device} is {}",
        if blocked {
            "blocked"
        } else {
            "no longer blocked"
        }
    );
    Ok(())
}

/// `sectag status`
pub(crate) async fn status(owner: &Owner, as_json: bool) -> Outcome {
    let mut found = owner.get("/v1/status").await?;
    // Of CoAP a reader wants to know who is there; what each layer counted is for programs.
    if !as_json && let Some(Value::Object(coap)) = found.get_mut("coap") {
        coap.retain(|name, _| {
            ["sessions", "authorised", "takenOver", "handshakes"].contains(&name.as_str())
        });
    }
    match found {
        // Where it listens comes first, what it counted behind it.
        Value::Object(all) if !as_json => {
            let is_counter = |name: &str| ["admission", "broker", "coap"].contains(&name);
            let (counted, rest): (serde_json::Map<_, _>, serde_json::Map<_, _>) =
                all.into_iter().partition(|(name, _)| is_counter(name));
            show(&Value::Object(rest), false);
            output::print("\n");
            show(&Value::Object(counted), false);
        }
        found => show(&found, as_json),
    }
    Ok(())
}
