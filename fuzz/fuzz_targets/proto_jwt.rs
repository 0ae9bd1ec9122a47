//! JWTs: no panic. The input is header and payload JSON, so that the fuzzer need not learn base64.
#![no_main]

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use sectag_proto::jwt::UnverifiedJwt;

fuzz_target!(|parts: (&str, &str, &str)| {
    let (raw, header, payload) = parts;
    let _ = UnverifiedJwt::parse(raw);
    let jwt = format!(
        "{}.{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(header),
        BASE64_URL_SAFE_NO_PAD.encode(payload),
        "A".repeat(86)
    );
    let _ = UnverifiedJwt::parse(&jwt);
});
