#![allow(clippy::unwrap_used)]

use super::*;
use sectag_store::Team;

const HOME: &str = "home-id";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn team(id: &str, prefix: Option<&str>) -> Team {
    Team {
        id: id.to_owned(),
        name: id.to_owned(),
        topic_prefix: prefix.map(str::to_owned),
        created_at: NOW,
    }
}

fn device() -> DeviceId {
    DeviceId::from_bytes([3; 16])
}

fn certificate(cn: &str, issuer: &str, n: u8) -> ClientCertificate {
    ClientCertificate {
        der_sha256: [n; 32],
        spki_sha256: [n + 100; 32],
        serial: format!("{n:02x}"),
        cn: cn.to_owned(),
        issuer: issuer.to_owned(),
        not_after_s: NOW.as_secs() + 1,
    }
}

fn view(teams: &[Team]) -> View {
    let mut view = View::default();
    view.team(HOME);
    view.know_teams(teams);
    view
}

fn admitted(view: &View, certificate: &ClientCertificate) -> Admission {
    match view.admit(certificate) {
        Verdict::Admit(terms) => terms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_home_sees_its_devices_as_if_there_were_no_gate() {
    let view = view(&[team(HOME, None), team("acme-id", Some("acme"))]);
    for issuer in ["CN=Sectag root devices", "CN=Imported CA"] {
        let terms = admitted(&view, &certificate("dev-1", issuer, 1));
        assert_eq!(terms, Admission::default(), "{issuer}");
    }
}

#[test]
fn a_teams_ca_puts_its_devices_below_its_prefix() {
    let mut view = view(&[team(HOME, None), team("acme-id", Some("acme"))]);
    let issuer = Issuers::name_of("acme-id");
    let certificate = certificate(&device().to_string(), &issuer, 1);
    let terms = admitted(&view, &certificate);
    assert_eq!(terms.prefix.as_deref(), Some("acme"));
    assert!(terms.may_operate && terms.realm.is_none());
    view.know_teams(&[team(HOME, None)]);
    assert!(
        matches!(view.admit(&certificate), Verdict::Refuse { reason } if reason.contains("team")),
        "a deleted team's devices are out"
    );
}

#[test]
fn a_ca_that_outlived_its_team_is_not_the_homes() {
    // As after a start: nothing told of the team.
    let view = view(&[team(HOME, None)]);
    let left = certificate("operator", &Issuers::name_of("acme-id"), 1);
    assert!(matches!(view.admit(&left), Verdict::Refuse { .. }));
    assert_eq!(view.id_of(view.team_of(&left)), None);
}

#[test]
fn the_view_tells_whether_there_are_several_teams() {
    let mut view = view(&[team(HOME, None)]);
    assert!(!view.has_several_teams);
    view.know_teams(&[team("acme-id", None), team(HOME, None)]);
    assert!(view.has_several_teams);
    view.know_teams(&[team(HOME, None)]);
    assert!(!view.has_several_teams);
}

#[test]
fn a_team_without_prefix_has_no_operators_and_the_home_has() {
    let view = view(&[team(HOME, None), team("bare-id", None)]);
    let theirs = certificate("op", &Issuers::name_of("bare-id"), 1);
    assert!(!admitted(&view, &theirs).may_operate);
    assert!(admitted(&view, &certificate("op", "CN=ca", 2)).may_operate);
}

#[test]
fn a_registered_certificate_is_its_teams_whatever_its_issuer_says() {
    let mut view = view(&[team(HOME, None), team("acme-id", Some("acme"))]);
    let acme = view.team("acme-id");
    let mine = certificate("dev-1", "CN=Sectag root devices", 1);
    view.pins.insert(mine.der_sha256, acme);
    let terms = admitted(&view, &mine);
    assert_eq!(terms.prefix.as_deref(), Some("acme"));
    assert!(!terms.may_operate, "nobody registers an operator");
    assert!(
        terms.realm.is_some(),
        "its issuer's name is anybody's word, and opens no session of that issuer"
    );
}

#[test]
fn blocked_devices_and_marks_are_out_however_they_come() {
    let mut view = view(&[]);
    let blocked = certificate(&device().to_string(), "CN=ca", 1);
    view.blocked.insert(device());
    assert!(matches!(view.admit(&blocked), Verdict::Refuse { .. }));
    view.blocked.remove(&device());
    assert!(matches!(view.admit(&blocked), Verdict::Admit(_)));
    for mark in [blocked.spki_sha256, blocked.der_sha256] {
        view.revoked.insert(mark);
        assert_eq!(view.admit(&blocked), Verdict::Revoked);
        view.revoked.remove(&mark);
    }
    // A UUID in other letters is another name, and so another session and other topics.
    view.blocked.insert(device());
    let shouting = certificate(&device().to_string().to_uppercase(), "CN=ca", 2);
    assert_eq!(
        shouting.cn == blocked.cn,
        matches!(view.admit(&shouting), Verdict::Refuse { .. })
    );
}
