//! The server's certificate is not good for us.

use rcgen::{CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use sectag_device::Cause;
use sectag_device::link::{PeerVerify, Security, TlsOptions};

use super::house::*;

async fn presents(papers: &Papers) -> Server {
    Server::tls(server_config(papers), Act::Say(ACCEPTED)).await
}

#[tokio::test]
async fn another_authority_issued_it() {
    let papers = server(&authority("Mosquitto CA"));
    let server = presents(&papers).await;
    let device = Device::trusting(&authority("Academy CA"));
    let explained = device.explain(server.port).await;
    says(
        &explained,
        Cause::WrongCa,
        &[
            "ends at issuer `CN=Mosquitto CA`",
            "root CA under sec tag 42 is `CN=Academy CA`",
        ],
    );
    let command = format!(
        "`sectag cert chain 127.0.0.1:{} --server-name localhost --to-tag 42`",
        server.port
    );
    assert!(explained.fix.contains(&command), "{}", explained.fix);

    // Two tags, neither of them right.
    let device = device.with(43, ROOT_CA, &authority("Spare CA").pem());
    let security = Security::Tls(TlsOptions {
        tags: vec![tag(42), tag(43)],
        ..tls()
    });
    let explained = explanation(device.open(&security, &options(server.port)).await);
    says(
        &explained,
        Cause::WrongCa,
        &[
            "`CN=Mosquitto CA`",
            "sec tags 42 and 43 is `CN=Academy CA` and `CN=Spare CA`",
        ],
    );
}

#[tokio::test]
async fn a_self_signed_certificate_that_is_not_under_the_tag() {
    let root = authority("Root");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "lonely");
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let papers = Papers {
        chain: vec![certificate.der().clone()],
        pem: certificate.pem(),
        key,
    };
    let server = presents(&papers).await;
    says(
        &Device::trusting(&root).explain(server.port).await,
        Cause::WrongCa,
        &["ends at the self-signed `CN=lonely`", "is `CN=Root`"],
    );
}

#[tokio::test]
async fn an_authority_that_was_made_again_under_the_same_name() {
    let (old, new) = (authority("Root"), authority("Root"));
    let server = presents(&server(&new)).await;
    let key_id = |authority: &Authority| {
        sectag_pki::show(authority.der())
            .unwrap()
            .subject_key_id
            .unwrap()
    };
    let explained = Device::trusting(&old).explain(server.port).await;
    says(
        &explained,
        Cause::CaReplaced,
        &[
            &format!("signed by key {}", key_id(&new)),
            &format!("there lies key {}", key_id(&old)),
        ],
    );
    assert!(explained.fix.contains("--to-tag 42"));
}

#[tokio::test]
async fn a_server_certificate_under_the_tag_in_place_of_its_authority() {
    let root = authority("Root");
    let papers = server_with(&root, |params| params.is_ca = IsCa::ExplicitNoCa);
    let server = presents(&papers).await;
    let device = Device::blank().with(42, ROOT_CA, &papers.pem);
    says(
        &device.explain(server.port).await,
        Cause::CaIsNoAuthority,
        &["is `CN=broker`", "CA:FALSE", "issued by `CN=Root`"],
    );
}

#[tokio::test]
async fn a_server_that_forgets_its_intermediate() {
    let root = authority("House Root");
    let below = authority_below(&root, "House Servers");
    let mut papers = server(&below);
    let server = presents(&papers).await;
    let device = Device::trusting(&root);
    says(
        &device.explain(server.port).await,
        Cause::MissingIntermediate,
        &[
            "`CN=broker` issued by `CN=House Servers`",
            "root CA under sec tag 42 is `CN=House Root`",
        ],
    );
    papers.chain.push(below.der().clone());
    let whole = presents(&papers).await;
    device.connect(whole.port).await.unwrap();
}

#[tokio::test]
async fn expired_and_not_yet_valid() {
    let root = authority_with("Root", |params| params.not_before = in_days(-1000));
    let device = Device::trusting(&root);
    let today = in_days(0).date().to_string();

    let expired = server_with(&root, |params| {
        params.not_before = in_days(-400);
        params.not_after = in_days(-3);
    });
    let server = presents(&expired).await;
    says(
        &device.explain(server.port).await,
        Cause::ServerCertificateExpired,
        &[
            "`CN=broker` expired 3 days ago",
            &format!("valid until {}", in_days(-3).date()),
            &format!("clock here says {today}"),
        ],
    );

    let young = server_with(&root, |params| params.not_before = in_days(2));
    let server = presents(&young).await;
    says(
        &device.explain(server.port).await,
        Cause::ServerCertificateNotYetValid,
        &[
            &format!("valid from {}", in_days(2).date()),
            &format!("clock here says {today}"),
        ],
    );
}

#[tokio::test]
async fn an_intermediate_that_has_expired_is_the_one_named() {
    let root = authority_with("Root", |params| params.not_before = in_days(-1000));
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Old Servers");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = in_days(-900);
    params.not_after = in_days(-10);
    let below = Authority::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
    let mut papers = server(&below);
    papers.chain.push(below.der().clone());
    let server = presents(&papers).await;
    says(
        &Device::trusting(&root).explain(server.port).await,
        Cause::ServerCertificateExpired,
        &[
            "the authority `CN=Old Servers` of the server's certificate `CN=broker` expired 10 days ago",
            &format!("valid until {}", in_days(-10).date()),
        ],
    );
}

#[tokio::test]
async fn another_name() {
    let root = authority("Root");
    let device = Device::trusting(&root);
    let server = presents(&server(&root)).await;
    let security = Security::Tls(TlsOptions {
        server_name: Some("mqtt.example".into()),
        ..tls()
    });
    let explained = explanation(device.open(&security, &options(server.port)).await);
    says(
        &explained,
        Cause::ServerNameMismatch,
        &["asked for as `mqtt.example`", "is for DNS:localhost"],
    );
    assert!(
        explained.fix.contains("--server-name localhost"),
        "{}",
        explained.fix
    );

    // By address, without a name: the address has to be in the certificate.
    let outcome = device
        .open(&Security::tags([tag(42)]), &options(server.port))
        .await;
    says(
        &explanation(outcome),
        Cause::ServerNameMismatch,
        &["asked for as `127.0.0.1`", "is for DNS:localhost"],
    );

    let nameless = server_with(&root, |params| params.subject_alt_names.clear());
    let nameless = presents(&nameless).await;
    says(
        &device.explain(nameless.port).await,
        Cause::ServerNameMismatch,
        &[
            "asked for as `localhost`",
            "no subjectAltName",
            "`CN=broker` is not looked at",
        ],
    );
}

#[tokio::test]
async fn a_certificate_for_clients_only() {
    let root = authority("Root");
    let papers = server_with(&root, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let server = presents(&papers).await;
    says(
        &Device::trusting(&root).explain(server.port).await,
        Cause::ServerCertificatePurpose,
        &["is for clientAuth", "serverAuth is needed"],
    );
}

#[tokio::test]
async fn an_authority_that_is_its_own_server() {
    // What `openssl req -x509` makes.
    let lonely = authority_with("broker", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
    });
    let key = KeyPair::from_pem(&lonely.key().serialize_pem()).unwrap();
    let papers = Papers {
        chain: vec![lonely.der().clone()],
        pem: lonely.pem(),
        key,
    };
    let server = presents(&papers).await;
    says(
        &Device::trusting(&lonely).explain(server.port).await,
        Cause::ServerCertificateIsAuthority,
        &["`CN=broker`", "(CA:TRUE), no server (CA:FALSE)"],
    );
}

#[tokio::test]
async fn old_certificates_that_openssl_still_makes() {
    if !have("openssl") {
        return;
    }
    let root = authority("Root");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("ca.crt"), root.pem()).unwrap();
    std::fs::write(path.join("ca.key"), root.key().serialize_pem()).unwrap();
    std::fs::write(path.join("ext"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        path,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -subj /CN=broker -out server.csr",
    );
    let issue =
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -set_serial 4711 -out server.crt";
    let papers = || {
        let read = |name| std::fs::read_to_string(path.join(name)).unwrap();
        let pem = read("server.crt");
        let der = sectag_pki::pem::certificates(&pem).unwrap().remove(0);
        Papers {
            chain: vec![CertificateDer::from(der)],
            pem,
            key: KeyPair::from_pem(&read("server.key")).unwrap(),
        }
    };
    let device = Device::trusting(&root);

    openssl(path, issue);
    let version_1 = presents(&papers()).await;
    let peer = Peer::s_server(&papers(), &[]).await;
    for port in [version_1.port, peer.port] {
        says(
            &device.explain(port).await,
            Cause::ServerCertificateVersion,
            &["X.509 version 1", "needs version 3"],
        );
    }

    openssl(path, &format!("{issue} -extfile ext -sha1"));
    let sha1 = presents(&papers()).await;
    says(
        &device.explain(sha1.port).await,
        Cause::ServerCertificateSignature,
        &["signed with SHA-1 with ECDSA", "SHA-256 or better"],
    );
}

#[tokio::test]
async fn what_is_no_certificate() {
    let root = authority("Root");
    let mut papers = server(&root);
    papers.chain = vec![CertificateDer::from(vec![0x30, 3, 2, 1, 5])];
    let server = presents(&papers).await;
    says(
        &Device::trusting(&root).explain(server.port).await,
        Cause::ServerCertificateMalformed,
        &["no usable X.509 certificate", "1 certificates, 5 bytes"],
    );
}

/// A chain that the modem would not take is a warning here.
#[tokio::test]
async fn a_chain_above_4_kb() {
    let root = authority("Root");
    let papers = server_with(&root, |params| {
        let padding =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![4; 4200]);
        params.custom_extensions.push(padding);
    });
    let bytes = papers.chain[0].len().to_string();
    let server = presents(&papers).await;
    let link = Device::trusting(&root).connect(server.port).await.unwrap();
    says(
        &link.warnings()[0],
        Cause::ChainTooLarge,
        &[&format!("{bytes} bytes in 1 certificates"), "takes 4096"],
    );
}

#[tokio::test]
async fn a_server_that_was_not_verified_is_connected_to_and_said_loudly() {
    let server = presents(&server(&authority("Mosquitto CA"))).await;
    let device = Device::trusting(&authority("Academy CA"));
    for (verify, number) in [
        (PeerVerify::DangerouslyOptional, "this is 1"),
        (PeerVerify::DangerouslyNone, "this is 0"),
    ] {
        let security = Security::Tls(TlsOptions {
            peer_verify: verify,
            ..tls()
        });
        let link = device.open(&security, &options(server.port)).await.unwrap();
        says(
            &link.warnings()[0],
            Cause::ServerNotVerified,
            &[
                "required is 2",
                number,
                "`CN=Mosquitto CA`",
                "`CN=Academy CA`",
                "wrong-ca",
            ],
        );
    }
}
