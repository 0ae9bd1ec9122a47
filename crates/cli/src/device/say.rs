//! What the terminal says about a device.

use super::Service;
use crate::fault::{Fault, Outcome};
use crate::output;
use sectag_device::Budget;
use sectag_device::agent::Happening;
use sectag_proto::device::{Ending, Errno, Event, Transport};
use serde_json::{Value, json};

/// One line for what happened, in the words of the firmware's log where it has some.
pub(crate) fn words(happening: &Happening<'_>) -> Option<String> {
    Some(match happening {
        Happening::Line { head, verdict, .. } => format!("  modem    {head} → {verdict}"),
        Happening::Answered {
            method,
            after: Some(after),
            status,
            received_bytes,
            ..
        } => format!(
            "  {method}      commands after `{after}` → {status}, {received_bytes} bytes of CBOR"
        ),
        Happening::Answered {
            method,
            status,
            sent_bytes,
            ..
        } => {
            format!("  {method}     {sent_bytes} bytes of CBOR responses → {status}")
        }
        Happening::Unanswered { method, error, .. } => {
            let mut text = format!("  {method}      no answer: {error}");
            let mut source = std::error::Error::source(*error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            text
        }
        Happening::Connected(handshake) => format!(
            "  dtls     {} handshake, {}{}",
            if handshake.resumed { "short" } else { "full" },
            handshake.suite,
            if handshake.cid { ", Connection ID" } else { "" }
        ),
        Happening::Spent(budget) if budget.sent.total() > 0 => format!("  air      {budget}"),
        Happening::NotSigned(error) => format!("  modem    no JWT: {error}"),
        Happening::Event(event) => match event {
            Event::BatchReceived { commands } => format!("  batch    {commands} command(s)"),
            Event::BatchRefused(reason) => format!("  batch    refused: {reason}"),
            Event::CommandFailed {
                index,
                correlation,
                command,
                number,
                answer,
            } => format!(
                "  failed   command {} ({correlation}): {command}: CME {number}: {}",
                index + 1,
                answer.trim()
            ),
            _ => return None,
        },
        _ => return None,
    })
}

/// How a session ended: a word to stdout, and why to stderr.
pub(super) fn report(
    id: &str,
    ending: Ending,
    token: Option<&str>,
    spent: Option<&Budget>,
    service: &Service,
    as_json: bool,
) -> Outcome {
    let result = match ending {
        Ending::Done => "DONE",
        Ending::Failed(Errno::NoData) => "NO_COMMANDS",
        Ending::Failed(Errno::Access) => "NOT_CLAIMED",
        Ending::Failed(_) => "FAILED",
    };
    if as_json {
        let errno = match ending {
            Ending::Done => Value::Null,
            Ending::Failed(errno) => json!(errno.name()),
        };
        let air = spent.map(Budget::json);
        output::json(
            &json!({ "id": id, "result": result, "errno": errno, "claimToken": token, "air": air }),
        );
    } else {
        output::print(&format!("{result}\n"));
    }
    match ending {
        Ending::Done | Ending::Failed(Errno::NoData) => Ok(()),
        Ending::Failed(Errno::Access) => {
            let fault = Fault::no(format!("device {id} is not claimed"));
            Err(match token {
                Some(token) => fault.hint(format!("claim it: sectag claim {token}")),
                None => fault,
            })
        }
        Ending::Failed(Errno::ConnectionRefused) => Err(Fault::no(format!(
            "no {} session with {}:{}: nothing listens there, or its certificate does not chain to the root CA under sec tag {}",
            match spent.map(|spent| spent.transport) {
                Some(Transport::Coap) => "DTLS",
                _ => "TLS",
            },
            service.host,
            service.port,
            service.root_ca_tag
        ))
        .hint("is the service up (`sectag status`)? is `--ca` the file of that service's home?")),
        Ending::Failed(errno) => Err(Fault::no(format!("the session ended with {}", errno.name()))
            .hint("the lines above say which step failed; -vv shows more")),
    }
}
