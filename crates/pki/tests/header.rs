//! The C compiler judges what `header` writes: the program that includes it prints the file byte for byte. Without gcc
//! and g++ that part is passed over; `SECTAG_PEERS=require` makes their absence a failure.
// The peer is a process, and it reads files.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::process::Command;

use proptest::prelude::*;
use sectag_pki::Authority;
use sectag_pki::at_script::{self, Dialect, Kind};
use sectag_pki::header::{LINE_LENGTH_MIN, Options, Style, render};

const STYLES: [Style; 4] = [Style::Macro, Style::String, Style::Bytes, Style::Lines];

#[test]
fn every_style_compiles_without_a_warning_and_is_the_file() {
    let pem = Authority::root("Root", 1_700_000_000)
        .unwrap()
        .certificate_pem();
    let all_bytes: Vec<u8> = (1..=255).collect();
    let texts: [&[u8]; 6] = [
        pem.as_bytes(),
        pem.trim_end().as_bytes(),
        &pem.replace('\n', "\r\n").into_bytes(),
        b"??=??/ \"\\\t7\x017\xff8\n\n\r\n/* */ // %d \\",
        &all_bytes,
        b"\n",
    ];
    for text in texts {
        for style in STYLES {
            for line_length in [None, Some(LINE_LENGTH_MIN)] {
                let options = Options {
                    style,
                    name: "ca_certificate",
                    line_length,
                    guard: (style == Style::Macro).then_some("CERTIFICATE_H"),
                };
                let header = render(text, &options).unwrap();
                compiled("gcc", "main.c", style, &header, text);
                if line_length.is_none() {
                    compiled("g++", "main.cpp", style, &header, text);
                }
            }
        }
    }
}

#[test]
fn a_nul_survives_as_bytes() {
    let options = Options {
        style: Style::Bytes,
        name: "ca_certificate",
        line_length: None,
        guard: None,
    };
    let header = render(b"a\0b\0", &options).unwrap();
    compiled("gcc", "main.c", Style::Bytes, &header, b"a\0b\0");
}

/// What `crt_to_header.py` of the exercise writes, whose last line ends in a backslash and swallows the next.
#[test]
fn the_macro_is_what_the_exercises_script_writes() {
    let pem = Authority::root("Root", 1_700_000_000)
        .unwrap()
        .certificate_pem();
    let mut script = "#define CA_CERTIFICATE \\\n".to_owned();
    for line in pem.lines() {
        script.push_str(&format!("\"{line}\\n\" \\\n"));
    }
    let options = Options {
        style: Style::Macro,
        name: "CA_CERTIFICATE",
        line_length: None,
        guard: None,
    };
    let ours = render(pem.as_bytes(), &options).unwrap();
    assert_eq!(
        *ours,
        script.strip_suffix(" \\\n").unwrap().to_owned() + "\n"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A reader of C that knows only what we write gives the bytes back.
    #[test]
    fn any_text_comes_back(
        text in prop::collection::vec(any::<u8>(), 1..300),
        style in prop::sample::select(&STYLES[..]),
        line_length in prop::option::of(LINE_LENGTH_MIN..120),
    ) {
        let options = Options { style, name: "x", line_length, guard: None };
        match render(&text, &options) {
            Ok(header) => prop_assert_eq!(read_back(&header, style), text),
            Err(_) => prop_assert!(text.contains(&0) && style != Style::Bytes),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the text, it cannot end its quotes early, and each line of a shell script is one command.
    #[test]
    fn a_script_stays_inside_its_quotes(text in "[ -~\\n\\r\u{0}\u{e9}]{0,300}") {
        for dialect in [Dialect::AtHost, Dialect::Shell] {
            let options = at_script::Options { sec_tag: 24, dialect, delete_first: true };
            if let Ok(script) = at_script::script(&[(Kind::RootCa, &text)], &options) {
                prop_assert_eq!(script.text.matches('"').count(), 2);
                if dialect == Dialect::Shell {
                    prop_assert!(script.text.lines().all(|line| line.starts_with("at ")));
                }
            }
        }
    }
}

fn read_back(header: &str, style: Style) -> Vec<u8> {
    if style == Style::Bytes {
        let mut bytes: Vec<u8> = header
            .split("0x")
            .skip(1)
            .map(|digits| u8::from_str_radix(&digits[..2], 16).unwrap())
            .collect();
        assert_eq!(bytes.pop(), Some(0));
        return bytes;
    }
    let mut out = Vec::new();
    let mut inside = false;
    let mut letters = header.bytes().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            b'"' => inside = !inside,
            b'\\' if inside => match letters.next().unwrap() {
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                octal @ b'0'..=b'3' => {
                    let rest = [letters.next().unwrap(), letters.next().unwrap()];
                    out.push((octal - b'0') << 6 | (rest[0] - b'0') << 3 | (rest[1] - b'0'));
                }
                other => out.push(other),
            },
            _ if inside => out.push(letter),
            _ => {}
        }
    }
    out
}

fn compiled(compiler: &str, file: &str, style: Style, header: &str, text: &[u8]) {
    if !have(compiler) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("certificate.h"), header).unwrap();
    let declaration = match style {
        Style::Macro => "#include \"certificate.h\"\nstatic const char text[] = ca_certificate;",
        Style::String | Style::Bytes => "#include \"certificate.h\"\n#define text ca_certificate",
        Style::Lines => "static const char text[] = {\n#include \"certificate.h\"\n};",
    };
    let program = format!(
        "#include <stdio.h>\n{declaration}\n\
         int main(void) {{ return fwrite(text, 1, sizeof(text) - 1, stdout) != sizeof(text) - 1; }}\n"
    );
    std::fs::write(dir.path().join(file), program).unwrap();
    let said = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-o", "program", file])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{compiler} {style}: {said:?}\n{header}"
    );
    let ran = Command::new(dir.path().join("program")).output().unwrap();
    assert_eq!(ran.stdout, text, "{compiler} {style}");
}

fn have(compiler: &str) -> bool {
    let present = Command::new(compiler)
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success());
    assert!(
        present || std::env::var("SECTAG_PEERS").as_deref() != Ok("require"),
        "SECTAG_PEERS=require, but {compiler} is not installed"
    );
    static SAID: std::sync::Once = std::sync::Once::new();
    if !present {
        SAID.call_once(|| eprintln!("skipped: {compiler} is not installed"));
    }
    present
}
