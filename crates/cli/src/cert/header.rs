//! `sectag cert header`: certificates as C.

use super::file::{self, Credential, Kind};
use crate::args::{Header, HeaderStyle};
use crate::fault::{Fault, Outcome};
use crate::output;
use sectag_pki::header::{self, HeaderError, Options, Style};
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The exercise's names (`crt_to_header.py`).
const INPUT: &str = "server_certificate.crt";
const OUTPUT: &str = "src/certificate.h";

pub(super) fn header(arguments: &Header, as_json: bool) -> Outcome {
    let (files, output) = places(arguments)?;
    let mut credentials = Vec::new();
    for path in &files {
        let credential = file::credential(path)?;
        if credential.kind == Kind::PrivateKey {
            file::private_key(
                path,
                arguments.include_private_key_in_firmware,
                arguments.no_test_keys,
                "--include-private-key-in-firmware",
                "the header",
            )?;
        }
        credentials.push(credential);
    }
    let names = names(arguments, &credentials)?;
    let style = match arguments.style {
        HeaderStyle::Macro => Style::Macro,
        HeaderStyle::String => Style::String,
        HeaderStyle::Bytes => Style::Bytes,
        HeaderStyle::Lines => Style::Lines,
    };
    if style == Style::Lines && credentials.len() > 1 {
        return Err(
            Fault::untried("bare lines of several files would run into one text")
                .hint("write a file each"),
        );
    }
    let room: usize = credentials.iter().map(|c| c.pem.len() * 12 + 1024).sum();
    let mut text = Zeroizing::new(String::with_capacity(room + 256));
    if let Some(guard) = &arguments.guard {
        header::check_name(guard).map_err(wrong)?;
        text.push_str(&format!("#ifndef {guard}\n#define {guard}\n\n"));
    }
    for (at, (credential, name)) in credentials.iter().zip(&names).enumerate() {
        if at > 0 {
            text.push('\n');
        }
        let options = Options {
            style,
            name,
            line_length: arguments.line_length,
            guard: None,
        };
        let one = header::render(&credential.pem, &options).map_err(wrong)?;
        text.push_str(&one);
    }
    if let Some(guard) = &arguments.guard {
        text.push_str(&format!("\n#endif /* {guard} */\n"));
    }
    let secret = credentials.iter().any(|c| c.kind == Kind::PrivateKey);
    let to_stdout = output.as_os_str() == "-";
    if to_stdout && as_json {
        output::json(&json!({ "header": text.as_str(), "names": names }));
        return Ok(());
    }
    let wrote = file::write(&output, text.as_bytes(), secret)?;
    if as_json {
        output::json(&json!({ "output": output, "names": names, "result": wrote.word() }));
    }
    Ok(())
}

/// What to read and where to write. Without files: the exercise's, in its project or in a folder of it, where its
/// script lies.
fn places(arguments: &Header) -> Outcome<(Vec<PathBuf>, PathBuf)> {
    if !arguments.files.is_empty() {
        let output = arguments.output.clone().unwrap_or_else(|| "-".into());
        return Ok((arguments.files.clone(), output));
    }
    let project = ["", ".."].into_iter().map(Path::new).find(|project| {
        let beside = project.as_os_str().is_empty() || project.join("src").is_dir();
        beside && project.join(INPUT).is_file()
    });
    let Some(project) = project else {
        return Err(Fault::untried(format!("no file is given, and there is no `{INPUT}` here"))
            .hint(format!(
                "give the files, or run it in a project that keeps its CA in {INPUT}; `sectag cert chain HOST:PORT --output {INPUT}` fetches it"
            )));
    };
    let output = arguments
        .output
        .clone()
        .unwrap_or_else(|| project.join(OUTPUT));
    Ok((vec![project.join(INPUT)], output))
}

/// The names asked for, or one by what each file holds.
fn names(arguments: &Header, credentials: &[Credential]) -> Outcome<Vec<String>> {
    let given = &arguments.names;
    if !given.is_empty() && given.len() != credentials.len() {
        return Err(Fault::untried(format!(
            "{} names for {} files",
            given.len(),
            credentials.len()
        ))
        .hint("give --name once for each file, in the same order, or not at all"));
    }
    let only_default = arguments.files.is_empty();
    let mut names: Vec<String> = Vec::new();
    for (at, credential) in credentials.iter().enumerate() {
        let name = match given.get(at) {
            Some(name) => name.clone(),
            None => {
                let name = match credential.kind {
                    _ if only_default => "CA_CERTIFICATE",
                    Kind::Authority => "CA_CERTIFICATE",
                    Kind::Certificate => "CLIENT_CERTIFICATE",
                    Kind::PrivateKey => "PRIVATE_KEY",
                };
                if arguments.style == HeaderStyle::Macro {
                    name.to_owned()
                } else {
                    name.to_lowercase()
                }
            }
        };
        if let Some(other) = names.iter().position(|other| *other == name) {
            return Err(Fault::untried(format!(
                "`{}` and `{}` would both be called {name}",
                credentials[other].path.display(),
                credential.path.display()
            ))
            .hint("give each a name of its own with --name"));
        }
        names.push(name);
    }
    Ok(names)
}

fn wrong(error: HeaderError) -> Fault {
    match &error {
        HeaderError::Name { name, .. } => {
            let better = header::name_from_file(name);
            let better = if name.chars().any(char::is_uppercase) {
                better.to_uppercase()
            } else {
                better
            };
            Fault::from(error).hint(format!("for example {better}"))
        }
        HeaderError::Nul { .. } => Fault::from(error).hint("add --style bytes"),
        _ => Fault::from(error),
    }
}
