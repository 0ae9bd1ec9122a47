//! E8, E18, E19.

use std::os::unix::fs::symlink;

use sectag_gateway::findings::FindingId::{E8, E10, E18, E19};
use sectag_gateway::findings::{Severity, find};

use crate::scene::{Scene, says};

#[test]
fn e8_a_ca_file_that_gives_no_certificate() {
    let mut scene = Scene::mutual();
    let (key, server) = (scene.path("client.key"), scene.path("missing.crt"));
    let (empty, directory) = (scene.write("empty", ""), scene.directory("d"));
    for (path, words) in [
        (key, "holds a private key, and no certificate"),
        (server, "does not exist"),
        (empty, "holds no certificate"),
        (
            directory,
            "is a directory: that is for mqtt.client.auth.ca_dir",
        ),
    ] {
        scene.client_side().ca_file = Some(path);
        says(&scene.only(E8), Severity::Error, words);
    }
    Scene::mutual().is_clean();
}

#[test]
fn e8_half_a_ca_file_is_damaged() {
    let mut scene = Scene::mutual();
    let root = scene.root.certificate_pem();
    let damaged = scene.write(
        "damaged.crt",
        &format!("{root}-----BEGIN CERTIFICATE-----\nMIIB"),
    );
    scene.client_side().ca_file = Some(damaged);
    says(
        &scene.only(E8),
        Severity::Error,
        "is damaged: `BEGIN CERTIFICATE` has no end",
    );
}

#[test]
fn e8_a_ca_directory_is_read_by_extension() {
    let mut scene = Scene::mutual();
    let directory = scene.directory("cas");
    scene.client_side().ca_file = None;
    scene.client_side().ca_dir = Some(directory.clone());
    says(
        &scene.only(E8),
        Severity::Error,
        "(mqtt.client.auth.ca_dir) is empty",
    );

    let root = scene.root.certificate_pem();
    scene.write("cas/ca.pem.bak", &root);
    scene.write("cas/key.pem", &scene.root.key().to_pem());
    says(
        &scene.only(E8),
        Severity::Error,
        "holds no certificate in a file named *.pem, *.crt or *.cer",
    );
    for name in ["ca.crt", "ca.cer", "ca.pem"] {
        let path = scene.write(&format!("cas/{name}"), &root);
        scene.is_clean();
        std::fs::remove_file(path).unwrap();
    }
    scene.write("cas/ca.crt", &root);
    scene.write(
        "cas/bad.pem",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    );
    says(
        &scene.only(E8),
        Severity::Error,
        "holds a damaged file, bad.pem",
    );

    let file = scene.path("ca.crt");
    scene.client_side().ca_dir = Some(file);
    says(
        &scene.only(E8),
        Severity::Error,
        "is a file: that is for mqtt.client.auth.ca_file",
    );
    let missing = scene.path("missing");
    scene.client_side().ca_dir = Some(missing);
    says(&scene.only(E8), Severity::Error, "does not exist");
}

#[test]
fn e8_the_union_of_file_and_directory_is_trusted() {
    let mut scene = Scene::mutual();
    let directory = scene.directory("cas");
    scene.client_side().ca_dir = Some(directory);
    says(&scene.only(E8), Severity::Warn, "is empty");
    let root = scene.root.certificate_pem();
    let other = sectag_pki::Authority::root("Other", crate::scene::NOW_S).unwrap();
    let wrong = scene.write("wrong.crt", &other.certificate_pem());
    scene.client_side().ca_file = Some(wrong);
    assert!(scene.found().iter().any(|one| one.id == E10));
    scene.write("cas/ca.crt", &root);
    scene.is_clean();
}

#[test]
fn e8_what_the_listener_trusts() {
    let mut scene = Scene::mutual();
    for (path, words) in [
        (
            scene.path("missing"),
            "(mqtt.external.ca_path) does not exist",
        ),
        (
            scene.path("server.key"),
            "holds a private key, and no certificate",
        ),
        (scene.directory("d"), "is empty"),
    ] {
        scene.external().ca_path = Some(path);
        says(&scene.only(E8), Severity::Error, words);
    }
    let mut scene = Scene::mutual();
    let ca = scene.path("ca.crt");
    scene.external().crl_file = Some(ca);
    says(&scene.only(E8), Severity::Error, "holds no revocation list");
    let missing = scene.path("missing");
    scene.external().crl_file = Some(missing);
    says(
        &scene.only(E8),
        Severity::Error,
        "(mqtt.external.crl_file) does not exist",
    );
}

#[test]
fn e8_der_is_converted_since_only_pem_is_read() {
    let mut scene = Scene::mutual();
    let list = scene
        .devices
        .crl(&[], crate::scene::NOW_S, crate::scene::NOW_S + 60)
        .unwrap();
    let (crl, ca) = (scene.path("clients.crl"), scene.path("clients.der"));
    std::fs::write(&crl, list).unwrap();
    std::fs::write(&ca, scene.root.certificate_der()).unwrap();
    scene.external().crl_file = Some(crl.clone());
    let found = scene.only(E8);
    says(
        &found,
        Severity::Error,
        "holds no revocation list: it is DER, and PEM is needed",
    );
    let convert = |object: &str, key: &str, path: &std::path::Path| {
        let path = path.display();
        format!(
            "openssl {object} -inform DER -in {path} -out {path}.pem && sectag config set {key} {path}.pem"
        )
    };
    let fix = convert("crl", "mqtt.external.crl_file", &crl);
    assert!(found.fix.starts_with(&fix), "{found}");

    scene.external().crl_file = None;
    scene.external().ca_path = Some(ca.clone());
    let found = scene.only(E8);
    let fix = convert("x509", "mqtt.external.ca_path", &ca);
    assert!(found.fix.starts_with(&fix), "{found}");
}

#[test]
fn e8_what_only_the_checker_cannot_read_is_a_note() {
    let scene = Scene::mutual();
    let ca = scene.path("clients-ca.crt");
    let mut facts = scene.facts();
    facts.files.get_mut(&ca).unwrap().what =
        sectag_gateway::facts::What::Unreadable("Permission denied".to_owned());
    let found = find(&scene.settings, &facts);
    says(
        &found[0],
        Severity::Note,
        "cannot be read here, so it was not checked",
    );
    assert_eq!(found.len(), 1);
}

#[test]
fn e18_a_directory_needs_hash_links() {
    let mut scene = Scene::mutual();
    let directory = scene.directory("clients");
    let pem = scene.root.certificate_pem();
    scene.write("clients/root.crt", &pem);
    scene.write("clients/devices.pem", &scene.devices.certificate_pem());
    scene.external().ca_path = Some(directory.clone());
    let found = scene.only(E18);
    says(
        &found,
        Severity::Error,
        "has 2 certificate files and no hash links",
    );
    assert_eq!(found.fix, format!("openssl rehash {}", directory.display()));

    symlink("root.crt", scene.path("clients/1f2e3d4c.0")).unwrap();
    says(
        &scene.only(E18),
        Severity::Warn,
        "has no hash link for devices.pem",
    );
    symlink("devices.pem", scene.path("clients/11111111.0")).unwrap();
    scene.is_clean();
}

#[test]
fn e18_a_file_with_several_certificates_is_split_first() {
    let mut scene = Scene::mutual();
    let directory = scene.directory("clients");
    let both = scene.devices.certificate_pem() + &scene.root.certificate_pem();
    scene.write("clients/both.pem", &both);
    scene.external().ca_path = Some(directory.clone());
    let found = scene.only(E18);
    says(
        &found,
        Severity::Error,
        "openssl makes no link for a file with several certificates, so both.pem must be split",
    );
    let dir = directory.display();
    assert_eq!(
        found.fix,
        format!(
            "csplit -sz -f {dir}/both.pem- -b %02d.crt {dir}/both.pem '/-----BEGIN CERTIFICATE/' '{{*}}' && openssl rehash {dir}"
        )
    );
    // What the fix leaves: the parts, their links, and the bundle.
    for (number, link) in ["00000000.0", "11111111.0"].into_iter().enumerate() {
        let pem = both.split_inclusive("-----END CERTIFICATE-----\n");
        let part = format!("both.pem-0{number}.crt");
        scene.write(&format!("clients/{part}"), pem.clone().nth(number).unwrap());
        symlink(part, scene.path(&format!("clients/{link}"))).unwrap();
    }
    scene.is_clean();
}

#[test]
fn e18_a_copy_with_the_right_name_is_a_link_too() {
    let mut scene = Scene::mutual();
    let directory = scene.directory("clients");
    scene.write("clients/1f2e3d4c.0", &scene.root.certificate_pem());
    scene.write("clients/root.pem", &scene.root.certificate_pem());
    scene.external().ca_path = Some(directory);
    scene.is_clean();
    symlink("nowhere", scene.path("clients/22222222.0")).unwrap();
    std::fs::remove_file(scene.path("clients/1f2e3d4c.0")).unwrap();
    says(&scene.only(E18), Severity::Error, "no hash links");
}

#[test]
fn e19_the_systems_store_lets_anybody_in() {
    let mut scene = Scene::mutual();
    let directory = scene.directory("store");
    scene.write("store/1f2e3d4c.0", &scene.root.certificate_pem());
    scene.external().ca_path = Some(directory.clone());
    scene.is_clean();
    scene.machine.system_stores = vec![directory.clone()];
    says(
        &scene.only(E19),
        Severity::Warn,
        "each of them could issue a client certificate",
    );
    symlink(&directory, scene.path("link")).unwrap();
    let link = scene.path("link");
    scene.external().ca_path = Some(link);
    says(
        &scene.only(E19),
        Severity::Warn,
        "holds the system's public CAs",
    );
}
