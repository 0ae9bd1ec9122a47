//! Certificate files and chains come from anywhere; the lint and the judge of chains read them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_pki::ServerName;
use sectag_pki::lint::{Context, chain, contents, lint};

fuzz_target!(|bytes: &[u8]| {
    let name = ServerName::Dns("server.example".to_owned());
    let context = Context {
        now_s: 1_767_225_600,
        purpose: None,
        name: Some(&name),
        roots: &[],
    };
    let _ = lint(bytes, &context);
    if let Ok(contents) = contents(bytes) {
        let certificates = contents.certificates;
        let _ = chain::judge(&certificates, &certificates, &name, context.now_s);
    }
});
