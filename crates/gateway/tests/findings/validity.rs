//! E20.

use sectag_gateway::findings::FindingId::E20;
use sectag_gateway::findings::{Severity, for_client};
use sectag_pki::pem;

use crate::scene::{DAY_S, NOW_S, Scene, says};

#[test]
fn e20_a_certificate_is_due_and_then_it_has_expired() {
    let mut scene = Scene::mutual();
    // The server's lives 397 days, the client's two years.
    scene.machine.now_s = NOW_S + 366 * DAY_S;
    scene.is_clean();
    scene.machine.now_s = NOW_S + 380 * DAY_S;
    let found = scene.only(E20);
    says(
        &found,
        Severity::Warn,
        "expires in 17 days, which is less than 30 days",
    );
    assert_eq!(found.fix, "sectag cert renew --all --due");
    scene.settings.minimum_validity_s = 10 * DAY_S;
    scene.is_clean();
    scene.machine.now_s = NOW_S + 400 * DAY_S;
    says(
        &scene.only(E20),
        Severity::Error,
        "expired: it was valid until 2028-02-16",
    );
    scene.machine.now_s = NOW_S + 800 * DAY_S;
    let found = scene.found();
    assert!(
        found
            .iter()
            .all(|one| one.id == E20 && one.severity == Severity::Error),
        "{found:#?}"
    );
    assert_eq!(found.len(), 2, "both certificates");
    let found = for_client(&scene.settings.client, 0, &scene.facts());
    assert_eq!(found.len(), 1, "its own only: {found:#?}");
}

#[test]
fn e20_a_clock_that_is_behind() {
    let mut scene = Scene::mutual();
    scene.machine.now_s = 1_000_000;
    let found = scene.found();
    assert!(
        found
            .iter()
            .all(|one| one.id == E20 && one.severity == Severity::Error),
        "{found:#?}"
    );
    says(
        &found[0],
        Severity::Error,
        "and the clock says 1970-01-12 13:46 UTC",
    );
    assert_eq!(found[0].fix, "date -u");
}

#[test]
fn e20_an_authority_that_expired_is_an_error_when_it_was_the_last() {
    let mut scene = Scene::mutual();
    scene.machine.now_s = NOW_S + 21 * 366 * DAY_S;
    let ca = |scene: &Scene| {
        let found = scene.found().into_iter();
        found
            .filter(|one| one.values[0].0.contains("ca_"))
            .collect::<Vec<_>>()
    };
    assert!(ca(&scene).iter().all(|one| one.severity == Severity::Error));
    let fresh = sectag_pki::Authority::root("Fresh", scene.machine.now_s).unwrap();
    let both = format!(
        "{}{}",
        scene.root.certificate_pem(),
        fresh.certificate_pem()
    );
    let path = scene.write("both.crt", &both);
    scene.external().ca_path = Some(path.clone());
    scene.client_side().ca_file = Some(path);
    assert!(ca(&scene).iter().all(|one| one.severity == Severity::Warn));
}

#[test]
fn e20_a_revocation_list_has_a_time_too() {
    let mut scene = Scene::mutual();
    let list = scene.devices.crl(&[], NOW_S, NOW_S + 7 * DAY_S).unwrap();
    let path = scene.write("crl.pem", &pem::encode("X509 CRL", &list));
    scene.external().crl_file = Some(path);
    scene.is_clean();
    scene.machine.now_s = NOW_S + 6 * DAY_S + 3600;
    says(&scene.only(E20), Severity::Warn, "expires in 23 hours");
    scene.machine.now_s = NOW_S + 8 * DAY_S;
    says(
        &scene.only(E20),
        Severity::Error,
        "every client of this CA is refused",
    );
}
