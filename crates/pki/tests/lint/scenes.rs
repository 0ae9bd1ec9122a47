//! One chain for each rule: what is sent, what is trusted, what it is for.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::process::Command;

use aws_lc_rs::rsa::KeySize;
use sectag_pki::{Purpose, ServerName};

use crate::maker::{
    BASIC, CLIENT_AUTH, EKU, Form, GENERALIZED, Key, NOW_S, SAN, SERVER_AUTH, USAGE, UTC,
    authority_key_id, basic, der, dns, eku, extension, ip, oid, san, seq, subject_key_id, usage,
};

pub(crate) struct Scene {
    /// The rule that it breaks; `None` for a good one.
    pub(crate) rule: Option<&'static str>,
    pub(crate) what: String,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) purpose: Purpose,
    pub(crate) name: Option<ServerName>,
    pub(crate) now_s: u64,
}

/// Rules whose certificates only openssl makes here.
pub(crate) const NEEDS_OPENSSL: &[&str] = &[
    "rsa-below-1024",
    "rsa-below-2048",
    "rsa-above-4096",
    "rsa-pss-key",
    "curve-other",
    "key-other",
    "sha1-signature",
    "md5-signature",
];

/// Root, intermediate and server, to be made wrong one at a time.
struct Bench {
    root_key: Key,
    between_key: Key,
    leaf_key: Key,
    root: Form,
    between: Form,
    leaf: Form,
}

impl Bench {
    fn new() -> Self {
        Self {
            root_key: Key::p256(),
            between_key: Key::p256(),
            leaf_key: Key::p256(),
            root: Form::ca("Root", "Root"),
            between: Form::ca("Between", "Root"),
            leaf: Form::server("server.example", "Between"),
        }
    }

    fn root_der(&self) -> Vec<u8> {
        self.root.signed(&self.root_key, &self.root_key)
    }

    fn between_der(&self) -> Vec<u8> {
        self.between.signed(&self.between_key, &self.root_key)
    }

    fn leaf_der(&self) -> Vec<u8> {
        self.leaf.signed(&self.leaf_key, &self.between_key)
    }

    fn scene(&self, rule: &'static str) -> Scene {
        Scene {
            rule: Some(rule),
            what: rule.to_owned(),
            chain: vec![self.leaf_der(), self.between_der()],
            roots: vec![self.root_der()],
            purpose: Purpose::Servers,
            name: Some(ServerName::Dns("server.example".to_owned())),
            now_s: NOW_S,
        }
    }

    fn good(&self, what: &str) -> Scene {
        Scene {
            rule: None,
            what: what.to_owned(),
            ..self.scene("rsa")
        }
    }
}

type Change = fn(&mut Bench);

/// Rules that one changed field breaks.
const CHANGES: &[(&str, Change)] = &[
    ("bad-signature", |b| b.leaf.spoil = true),
    ("aki-mismatch", |b| {
        b.between = b.between.clone().with(subject_key_id(&[1; 20]));
        b.leaf = b.leaf.clone().with(authority_key_id(&[2; 20]));
    }),
    ("path-length", |b| {
        // Root, Between with length 0, Between2, leaf: see `deep`.
        b.between = Form::new("Between", "Root")
            .with(basic(true, Some(0)))
            .with(usage(&[5]));
    }),
    ("path-length-root", |b| {
        b.root = Form::new("Root", "Root")
            .with(basic(true, Some(0)))
            .with(usage(&[5]));
    }),
    ("x509-v1", |b| {
        b.leaf.v3 = false;
    }),
    ("x509-v1-root", |b| b.root.v3 = false),
    ("serial-negative", |b| b.leaf.serial = vec![0x80, 1]),
    ("serial-long", |b| b.leaf.serial = vec![0x11; 30]),
    ("serial-zero", |b| b.leaf.serial = vec![0]),
    ("utctime-19xx", |b| b.leaf.end = (UTC, "600101000000Z")),
    ("generalizedtime-early", |b| {
        b.leaf.end = (GENERALIZED, "20450101000000Z");
    }),
    ("algorithms-disagree", |b| {
        b.leaf.inside = Some(seq(&[oid("1.2.840.10045.4.3.3")]));
    }),
    ("ecdsa-parameters", |b| {
        b.leaf.algorithm = Some(seq(&[oid("1.2.840.10045.4.3.2"), der(0x05, &[])]));
    }),
    ("extension-twice", |b| {
        b.leaf = b.leaf.clone().with(usage(&[0]));
    }),
    ("expired", |b| b.leaf.end = (UTC, "251001000000Z")),
    ("not-yet-valid", |b| b.leaf.begin = (UTC, "260201000000Z")),
    ("validity-backwards", |b| {
        b.leaf.begin = (UTC, "300101000000Z");
        b.leaf.end = (UTC, "290101000000Z");
    }),
    ("expires-in-30-days", |b| {
        b.leaf.end = (UTC, "260115000000Z")
    }),
    ("expires-in-90-days", |b| {
        b.leaf.end = (UTC, "260315000000Z")
    }),
    ("rsa", |b| b.leaf_key = Key::rsa(KeySize::Rsa2048)),
    ("curve-p521", |b| b.between_key = Key::p521()),
    ("ed25519", |b| b.between_key = Key::ed25519()),
    ("expired-root", |b| b.root.end = (UTC, "251001000000Z")),
    ("critical-extension-root", |b| {
        b.root = b.root.clone().with(extension("1.2.3.4", true, &[5, 0]));
    }),
    ("critical-extension", |b| {
        b.leaf = b.leaf.clone().with(extension("1.2.3.4", true, &[5, 0]));
    }),
    ("critical-policy", |b| {
        let policy = seq(&[seq(&[oid("1.2.3.4")])]);
        b.leaf = b.leaf.clone().with(extension("2.5.29.32", true, &policy));
    }),
    ("name-constraints", |b| {
        let permitted = der(0xa0, &seq(&[dns("example")]));
        let constraints = extension("2.5.29.30", true, &seq(&[permitted]));
        b.between = b.between.clone().with(constraints);
    }),
    ("cn-only", |b| b.leaf = b.leaf.clone().without(SAN)),
    ("no-name", |b| {
        b.leaf = b.leaf.clone().without(SAN);
        b.leaf.subject = String::new();
    }),
    ("name-mismatch", |b| {
        b.leaf = b
            .leaf
            .clone()
            .without(SAN)
            .with(san(&[dns("other.example")]));
    }),
    ("ca-as-end-entity", |b| {
        b.leaf = b.leaf.clone().without(BASIC).with(basic(true, None));
    }),
    ("no-server-auth", |b| {
        b.leaf = b.leaf.clone().without(EKU).with(eku(&[CLIENT_AUTH]));
    }),
    ("any-eku", |b| {
        b.leaf = b.leaf.clone().without(EKU).with(eku(&["2.5.29.37.0"]));
    }),
    ("no-digital-signature", |b| {
        b.leaf = b.leaf.clone().without(USAGE).with(usage(&[2]));
    }),
    ("not-a-ca", |b| {
        b.between = b.between.clone().without(BASIC).with(basic(false, None));
    }),
    ("root-not-a-ca", |b| {
        b.root = b.root.clone().without(BASIC).with(basic(false, None));
    }),
    ("no-key-cert-sign", |b| {
        b.between = b.between.clone().without(USAGE).with(usage(&[0]));
    }),
    ("ca-eku", |b| {
        b.between = b.between.clone().with(eku(&[CLIENT_AUTH]));
    }),
];

pub(crate) fn scenes() -> Vec<Scene> {
    let bench = Bench::new();
    let mut all = vec![bench.good("a chain of P-256")];
    let mut strong = Bench::new();
    strong.root_key = Key::p384();
    strong.between_key = Key::p384();
    all.push(strong.good("authorities of P-384"));
    for (rule, change) in CHANGES {
        let mut bench = Bench::new();
        change(&mut bench);
        let mut scene = bench.scene(rule);
        if rule.starts_with("path-length") {
            deep(&bench, &mut scene);
        }
        all.push(scene);
    }
    all.extend(shapes());
    all.extend(by_openssl());
    all
}

/// One more authority between.
fn deep(bench: &Bench, scene: &mut Scene) {
    let key = Key::p256();
    let second = Form::ca("Second", "Between").signed(&key, &bench.between_key);
    let leaf = Form::server("server.example", "Second").signed(&bench.leaf_key, &key);
    scene.chain = vec![leaf, second, bench.between_der()];
}

/// Scenes of other shapes: what is sent in which order, names by address, clients.
fn shapes() -> Vec<Scene> {
    let bench = Bench::new();
    let (root, between, leaf) = (bench.root_der(), bench.between_der(), bench.leaf_der());
    let mut all = Vec::new();
    let mut add = |rule, chain: Vec<Vec<u8>>| {
        all.push(Scene {
            chain,
            roots: vec![root.clone()],
            ..bench.scene(rule)
        });
    };
    add("leaf-not-first", vec![between.clone(), leaf.clone()]);
    add(
        "root-sent",
        vec![leaf.clone(), between.clone(), root.clone()],
    );
    add("order", vec![leaf.clone(), root.clone(), between.clone()]);
    add(
        "duplicate",
        vec![leaf.clone(), between.clone(), between.clone()],
    );
    let stranger_key = Key::p256();
    let stranger = Form::ca("Stranger", "Else").signed(&stranger_key, &Key::p256());
    add("unrelated", vec![leaf.clone(), between.clone(), stranger]);
    let second_key = Key::p256();
    let second = Form::ca("Second", "Between").signed(&second_key, &bench.between_key);
    let below = Form::server("server.example", "Second").signed(&bench.leaf_key, &second_key);
    add("order", vec![below, between.clone(), second]);
    add("issuer-not-here", vec![leaf.clone()]);
    let mut large = bench.leaf.clone();
    large
        .extensions
        .push(extension("1.2.3.4", false, &[0; 4000]));
    let large = large.signed(&bench.leaf_key, &bench.between_key);
    add("over-4-kb", vec![large, between.clone()]);
    let same = Form::server("Between", "Between").signed(&bench.leaf_key, &bench.between_key);
    add("same-name-as-issuer", vec![same, between.clone()]);

    let own_key = Key::p256();
    let own = Form::server("server.example", "server.example").signed(&own_key, &own_key);
    all.push(Scene {
        chain: vec![own.clone()],
        roots: vec![own],
        ..bench.scene("self-signed")
    });

    let by_address = |names: &[Vec<u8>]| {
        let form = bench.leaf.clone().without(SAN).with(san(names));
        form.signed(&bench.leaf_key, &bench.between_key)
    };
    for (rule, names) in [
        (Some("ip-in-dns-san"), [dns("127.0.0.1")]),
        (None, [ip(&[127, 0, 0, 1])]),
    ] {
        all.push(Scene {
            rule,
            what: "reached as 127.0.0.1".to_owned(),
            chain: vec![by_address(&names), between.clone()],
            roots: vec![root.clone()],
            name: Some(ServerName::Ip([127, 0, 0, 1].into())),
            ..bench.scene("rsa")
        });
    }
    all.push(Scene {
        chain: vec![
            by_address(&[dns("f*.example"), dns("server.example")]),
            between.clone(),
        ],
        ..bench.scene("odd-dns-name")
    });
    all.push(Scene {
        rule: None,
        what: "a wildcard".to_owned(),
        chain: vec![by_address(&[dns("*.home.example")]), between.clone()],
        name: Some(ServerName::Dns("server.home.example".to_owned())),
        ..bench.scene("rsa")
    });
    for scene in &mut all {
        scene.roots = if scene.rule == Some("self-signed") {
            scene.roots.clone()
        } else {
            vec![root.clone()]
        };
    }
    for (rule, what, usage) in [
        (None, "a client", CLIENT_AUTH),
        (Some("no-client-auth"), "a server as client", SERVER_AUTH),
    ] {
        let form = Form::new("device", "Between")
            .with(basic(false, None))
            .with(eku(&[usage]));
        all.push(Scene {
            rule,
            what: what.to_owned(),
            chain: vec![
                form.signed(&bench.leaf_key, &bench.between_key),
                between.clone(),
            ],
            roots: vec![root.clone()],
            purpose: Purpose::Devices,
            name: None,
            now_s: NOW_S,
        });
    }
    // Refused by rustls alone and foreseen by no rule: a name outside its issuer's constraints, not critical.
    let mut outside = Bench::new();
    let permitted = der(0xa0, &seq(&[dns("elsewhere")]));
    outside.between =
        outside
            .between
            .clone()
            .with(extension("2.5.29.30", false, &seq(&[permitted])));
    all.push(outside.scene("rustls-other"));
    all
}

/// Keys and signatures that aws-lc does not make: openssl makes root and server.
fn by_openssl() -> Vec<Scene> {
    let dir = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(dir.path())
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !run("version") {
        return Vec::new();
    }
    let extensions = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                      extendedKeyUsage=serverAuth\nsubjectAltName=DNS:server.example\n";
    std::fs::write(dir.path().join("leaf.ext"), extensions).unwrap();
    let mut all = Vec::new();
    for (rule, key, hash) in [
        (
            "rsa-below-1024",
            "RSA -pkeyopt rsa_keygen_bits:768",
            "-sha256",
        ),
        (
            "rsa-below-2048",
            "RSA -pkeyopt rsa_keygen_bits:1024",
            "-sha256",
        ),
        (
            "rsa-above-4096",
            "RSA -pkeyopt rsa_keygen_bits:4104",
            "-sha256",
        ),
        (
            "rsa-pss-key",
            "RSA-PSS -pkeyopt rsa_keygen_bits:2048",
            "-sha256",
        ),
        (
            "curve-other",
            "EC -pkeyopt ec_paramgen_curve:secp256k1",
            "-sha256",
        ),
        ("key-other", "ED448", ""),
        (
            "sha1-signature",
            "EC -pkeyopt ec_paramgen_curve:P-256",
            "-sha1",
        ),
        (
            "sha1-signature",
            "RSA -pkeyopt rsa_keygen_bits:2048",
            "-sha1",
        ),
        ("md5-signature", "RSA -pkeyopt rsa_keygen_bits:2048", "-md5"),
    ] {
        for line in [
            format!("genpkey -algorithm {key} -out root.key"),
            format!(
                "req -x509 -key root.key -out root.pem -subj /CN=Root -days 9000 {hash} -addext keyUsage=critical,keyCertSign"
            ),
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out leaf.key".to_owned(),
            "req -new -key leaf.key -subj /CN=server.example -out leaf.csr".to_owned(),
            format!(
                "x509 -req -in leaf.csr -CA root.pem -CAkey root.key -set_serial 77 -days 9000 {hash} -extfile leaf.ext -out leaf.pem"
            ),
        ] {
            assert!(run(&line), "openssl {line}");
        }
        let read = |name: &str| {
            let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
            sectag_pki::pem::certificates(&text).unwrap().remove(0)
        };
        all.push(Scene {
            rule: Some(rule),
            what: format!("{rule} by openssl"),
            chain: vec![read("leaf.pem"), read("root.pem")],
            roots: vec![read("root.pem")],
            purpose: Purpose::Servers,
            name: Some(ServerName::Dns("server.example".to_owned())),
            now_s: sectag_pki::show(&read("leaf.pem")).unwrap().not_before_s + 60,
        });
    }
    all
}
