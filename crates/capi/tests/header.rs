//! The header against a C and a C++ compiler, and against the structures of this crate.
#![allow(clippy::unwrap_used)]

use sectag_capi::*;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

const STRICT: [&str; 5] = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wundef"];

#[test]
fn the_header_is_clean_c99_c11_and_cpp() {
    let program = "#include \"sectag_provisioning.h\"\n\
                   void heard(const struct nrf_provisioning_callback_data *event);\n\
                   void heard(const struct nrf_provisioning_callback_data *event) {\n\
                     if (event->type == NRF_PROVISIONING_EVENT_FAILED_DEVICE_NOT_CLAIMED)\n\
                       (void)event->token->attest_sz;\n\
                     (void)event->next_attempt_time_seconds;\n\
                   }\n";
    let dir = tempdir("clean");
    for (compiler, dialect, file) in [
        ("gcc", "-std=c99", "a.c"),
        ("gcc", "-std=c11", "a.c"),
        ("g++", "-std=c++11", "a.cpp"),
        ("g++", "-std=c++20", "a.cpp"),
    ] {
        if !have(compiler) {
            continue;
        }
        let source = dir.join(file);
        std::fs::write(&source, program).unwrap();
        compile(
            Command::new(compiler)
                .args(STRICT)
                .args([dialect, "-fsyntax-only", "-I", include()])
                .arg(&source),
        );
    }
}

/// What C sees and what Rust sees, name by name.
macro_rules! layout {
    ($($structure:ident { $($member:ident)* })*) => {{
        let mut expected = String::new();
        let mut program = String::from(
            "#include <stdio.h>\n#include \"sectag_provisioning.h\"\nint main(void) {\n");
        $(
            let size = size_of::<$structure>();
            writeln!(expected, concat!(stringify!($structure), " {}"), size).unwrap();
            writeln!(program, concat!(
                "printf(\"", stringify!($structure), " %zu\\n\", sizeof(struct ", stringify!($structure), "));")).unwrap();
            $(
                let offset = offset_of!($structure, $member);
                writeln!(expected, concat!(stringify!($structure), ".", stringify!($member), " {}"), offset).unwrap();
                writeln!(program, concat!(
                    "printf(\"", stringify!($structure), ".", stringify!($member), " %zu\\n\", offsetof(struct ",
                    stringify!($structure), ", ", stringify!($member), "));")).unwrap();
            )*
        )*
        (program, expected.replace("r#", ""))
    }};
}

#[test]
fn c_and_rust_see_the_same_structures() {
    if !have("gcc") {
        return;
    }
    let (program, mut expected) = layout! {
        nrf_attestation_token { attest attest_sz cose cose_sz }
        sectag_request { method target authorization accept content_type body body_len }
        sectag_answer { status body body_size body_len retry_after_s }
        sectag_carrier { size user fetch report at_line load save network uptime_ms wait log }
        sectag_config {
            size modem_version client_version settings_path rx_bytes_max tx_bytes_max records_max at_bytes
            answer_bytes_start jwt_sec_tag jwt_validity_s time_wait_s radio_wait_s radio_rest_ms save_command_id
            provide_attestation_token lte_by_program faithful auto_start scheduled interval_s spread_s
            initial_backoff_s seed
        }
    };
    // Its union has no name in C.
    type Data = nrf_provisioning_callback_data;
    let data = [
        size_of::<Data>(),
        offset_of!(Data, r#type),
        offset_of!(Data, data),
        offset_of!(Data, data),
        offset_of!(Data, result),
    ];
    writeln!(expected, "{data:?}").unwrap();
    let program = program
        + "#define AT(member) offsetof(struct nrf_provisioning_callback_data, member)\n\
           printf(\"[%zu, %zu, %zu, %zu, %zu]\\n\", sizeof(struct nrf_provisioning_callback_data), AT(type),\
           AT(token), AT(next_attempt_time_seconds), AT(result));\nreturn 0; }\n";
    let dir = tempdir("layout");
    let (source, binary) = (dir.join("layout.c"), dir.join("layout"));
    std::fs::write(&source, program).unwrap();
    // Compilers for bare ARM make enums as short as they can; the rest stays where it is.
    for enums in ["-fno-short-enums", "-fshort-enums"] {
        compile(
            Command::new("gcc")
                .args(["-std=c99", enums, "-I", include(), "-o"])
                .args([&binary, &source]),
        );
        let seen = Command::new(&binary).output().unwrap();
        let seen = String::from_utf8(seen.stdout).unwrap();
        assert_eq!(seen, expected, "{enums}");
    }
}

#[test]
fn every_function_of_the_library_is_in_the_header_and_the_other_way_round() {
    let header =
        std::fs::read_to_string(Path::new(include()).join("sectag_provisioning.h")).unwrap();
    let mut source = String::new();
    for file in ["client", "session", "library", "options"] {
        let path = format!("{}/src/ffi/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        source += &std::fs::read_to_string(path).unwrap();
    }
    let names = |text: &str, before: &[&str]| -> Vec<String> {
        let mut found: Vec<String> = text
            .lines()
            .filter_map(|line| before.iter().find_map(|start| line.strip_prefix(start)))
            .map(|rest| rest.split('(').next().unwrap().to_owned())
            .collect();
        found.sort();
        found
    };
    let in_rust = names(
        &source,
        &["pub unsafe extern \"C\" fn ", "pub extern \"C\" fn "],
    );
    let in_c = names(&header, &["int ", "void "]);
    assert_eq!(in_c, in_rust);
    assert!(in_c.len() > 20, "{in_c:?}");
}

fn include() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/include")
}

fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn compile(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
}

/// Inside the target folder, made anew.
fn tempdir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("capi-header")
        .join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
