//! `sectag cert at-script`: the AT lines that put files under a sec tag.

use super::file::{self, Kind};
use crate::args::AtScript;
use crate::fault::{Fault, Outcome};
use crate::output;
use sectag_pki::at_script::{self, Dialect, Options, ScriptError};
use serde_json::json;

pub(super) fn at_script(arguments: &AtScript, as_json: bool) -> Outcome {
    let mut credentials: Vec<(at_script::Kind, file::Credential)> = Vec::new();
    for path in &arguments.files {
        let credential = file::credential(path)?;
        let kind = match credential.kind {
            Kind::Authority => at_script::Kind::RootCa,
            Kind::Certificate => at_script::Kind::ClientCertificate,
            Kind::PrivateKey => at_script::Kind::PrivateKey,
        };
        if kind == at_script::Kind::PrivateKey {
            file::private_key(
                path,
                arguments.include_private_key_in_script,
                arguments.no_test_keys,
                "--include-private-key-in-script",
                "the script",
            )?;
        }
        if let Some((_, other)) = credentials.iter().find(|(other, _)| *other == kind) {
            return Err(Fault::untried(format!(
                "`{}` and `{}` are both a {kind}, and a sec tag keeps one",
                other.path.display(),
                path.display()
            ))
            .hint("write two scripts with two tags; several CAs for one tag stand in one file"));
        }
        credentials.push((kind, credential));
    }
    let texts: Vec<(at_script::Kind, &str)> = credentials
        .iter()
        .map(
            |(kind, credential)| match std::str::from_utf8(&credential.pem) {
                Ok(text) => Ok((*kind, text)),
                Err(_) => Err(Fault::no(format!(
                    "`{}` is not text in UTF-8",
                    credential.path.display()
                ))),
            },
        )
        .collect::<Outcome<_>>()?;
    let options = Options {
        sec_tag: arguments.sec_tag.get(),
        dialect: if arguments.shell {
            Dialect::Shell
        } else {
            Dialect::AtHost
        },
        delete_first: arguments.delete_first,
    };
    let script = at_script::script(&texts, &options).map_err(wrong)?;
    let secret = texts
        .iter()
        .any(|(kind, _)| *kind == at_script::Kind::PrivateKey);
    let digests: Vec<_> = script
        .digests
        .iter()
        .map(|(kind, digest)| json!({ "type": kind.number(), "name": kind.to_string(), "sha256": digest }))
        .collect();
    let to_stdout = arguments.output.as_os_str() == "-";
    if to_stdout && as_json {
        output::json(&json!({ "script": script.text.as_str(), "digests": digests }));
        return Ok(());
    }
    let wrote = file::write(&arguments.output, script.text.as_bytes(), secret)?;
    if as_json {
        output::json(
            &json!({ "output": arguments.output, "result": wrote.word(), "digests": digests }),
        );
    }
    let tag = arguments.sec_tag;
    eprintln!("the last line lists what is there; it must say");
    for (kind, digest) in &script.digests {
        eprintln!("  %CMNG: {tag},{},\"{digest}\"", kind.number());
    }
    eprintln!("the modem is offline afterwards; AT+CFUN=1 brings it back");
    Ok(())
}

fn wrong(error: ScriptError) -> Fault {
    match &error {
        ScriptError::Character { .. } => Fault::no_because(error).hint(
            "keep what is between BEGIN and END only: `openssl x509 -in FILE` prints just that",
        ),
        ScriptError::TooLong { .. } => {
            Fault::no_because(error).hint("put one root under the tag; RSA chains rarely fit")
        }
        _ => Fault::no_because(error),
    }
}
