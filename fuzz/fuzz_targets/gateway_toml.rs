//! `tedge.toml`: any text is read or refused with a reason; what is edited stays TOML, and says what it should.
#![no_main]

use sectag_gateway::config::{Config, Environment, Locations, conflict};
use sectag_gateway::document::Document;
use std::path::Path;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(mut document) = Document::parse(text) else {
        return;
    };
    let here = Path::new("/gateway");
    let locations = Locations::choose(None, &Environment::default(), here, here);
    if let Ok(config) = Config::of(&locations, &document, &Environment::default()) {
        assert!(conflict(&document).is_ok());
        let _ = config.settings();
    }
    if document.set("mqtt.bind.port", &1884.into()).is_ok() {
        let said = document
            .get("mqtt.bind.port")
            .and_then(|item| item.as_integer());
        assert_eq!(said, Some(1884));
        if document.unset("mqtt.bind.port").is_ok() {
            assert!(document.get("mqtt.bind.port").is_none());
        }
    }
});
