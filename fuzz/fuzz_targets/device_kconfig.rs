//! `prj.conf` and control requests: any bytes give a value or a sentence, and no known option ever holds a value of
//! another kind.
#![no_main]

use sectag_device::control::Request;
use sectag_device::kconfig::Kconfig;
use sectag_device::options::Options;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut kconfig = Kconfig::default();
    if let Err(error) = kconfig.add_bytes("prj.conf", bytes) {
        assert!(error.to_string().contains("prj.conf"));
    }
    let mut options = Options::ours();
    options.apply_kconfig(&kconfig);
    for (known, chosen) in options.rows() {
        assert_eq!(known.kind.check(&chosen.value), Ok(()));
    }
    for unknown in kconfig.unknown() {
        assert!(unknown.name.starts_with("CONFIG_"));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Options::ours().apply_toml("device.toml", text);
        let _ = Options::ours().apply_flag(text);
    }
    if let Ok(request) = Request::parse(bytes) {
        let line = request.print();
        assert_eq!(Request::parse(line.trim_end().as_bytes()), Ok(request));
    }
});
