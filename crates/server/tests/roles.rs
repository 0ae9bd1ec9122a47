//! Every row of the table of access, against a live service: each role × own and foreign team × keys with tags × no key.
//!
//! What exists for nobody who asks must look, to the letter, like what does not exist at all; and to whom it belongs it must
//! still be there afterwards.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "roles/scene.rs"]
mod scene;
mod support;

use scene::{OURS, Scene, code, filled, is_let_in, is_of_a_device, text};
use sectag_server::owner_api::access::{Row, Scoped, TABLE, What};
use sectag_store::Role;
use support::Town;

#[tokio::test]
async fn each_row_holds_for_the_own_team() {
    let scene = Scene::open().await;
    for row in TABLE {
        for role in Role::ALL {
            let path = filled(row, &scene.things(row).await);
            let key = scene.home.of(role);
            let reply = scene.ask(key, row.method, &path, &scene.body(row)).await;
            let who = role.as_str();
            if row.role.is_none_or(|needed| role >= needed) {
                is_let_in(who, row, &reply);
            } else {
                let said = (reply.status, code(&reply));
                assert_eq!(said, (403, 40300), "{who}: {} {}", row.method, row.path);
            }
        }
        // Without a key, or with none that is known.
        let path = filled(row, &scene.things(row).await);
        for key in ["", "sectag_wrong"] {
            let reply = scene.ask(key, row.method, &path, &scene.body(row)).await;
            match row.role {
                None => is_let_in("nobody", row, &reply),
                Some(_) => assert_eq!((reply.status, code(&reply)), (401, 40100), "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn each_row_holds_for_a_foreign_team() {
    let scene = Scene::open().await;
    let owner = scene.home.of(Role::Owner);
    for row in TABLE.iter().filter(|row| row.role.is_some()) {
        for role in Role::ALL {
            let who = format!("{} of another team", role.as_str());
            let things = scene.things(row).await;
            let key = scene.north.of(role);
            let path = filled(row, &things);
            let reply = scene.ask(key, row.method, &path, &scene.body(row)).await;
            scene.tells_nothing(&who, row, &reply).await;
            if row.role > Some(role) {
                let said = (reply.status, code(&reply));
                assert_eq!(said, (403, 40300), "{who}: {} {}", row.method, row.path);
                continue;
            }
            match row.what {
                What::Home => {
                    let said = (reply.status, code(&reply));
                    assert_eq!(said, (403, 40303), "{who}: {} {}", row.method, row.path);
                }
                What::Thing => {
                    scene.hides(&who, key, row, &things, owner).await;
                    if row.path.starts_with("/v1/devices/") {
                        let named = [named(&scene).await];
                        scene.hides(&who, key, row, &named, owner).await;
                    }
                }
                What::Service | What::OwnTeam | What::Secret => is_let_in(&who, row, &reply),
            }
        }
    }
    // And the other way round: the home's owners make teams and keys, and see no devices of others.
    let (key, theirs) = (scene.home.of(Role::Owner), scene.north.of(Role::Owner));
    for row in TABLE.iter().filter(|row| is_of_a_device(row)) {
        let things = scene.things_of(row, &scene.theirs, theirs).await;
        scene
            .hides("the home's owner", key, row, &things, theirs)
            .await;
    }
}

/// A registered device of the home's own team whose id is not a claimed one's.
async fn named(scene: &Scene) -> String {
    let id = format!("{OURS}tracker");
    scene.register(&id, scene.home.of(Role::Owner)).await;
    id
}

#[tokio::test]
async fn each_row_holds_for_keys_with_tags() {
    let scene = Scene::open().await;
    let owner = scene.home.of(Role::Owner);
    for row in TABLE {
        let Some(needed) = row.role else { continue };
        for role in [Role::Viewer, Role::Editor, Role::Admin] {
            let who = format!("{} with a tag", role.as_str());
            let key = scene.scoped.of(role);
            // What an upload of a key without tags is about may be any device.
            let is_upload = row.path.starts_with("/v1/bulk-ops-requests/");
            let maker = match is_upload && role >= needed {
                true => key,
                false => owner,
            };
            let path = filled(row, &scene.things_of(row, &scene.tagged, maker).await);
            let reply = scene.ask(key, row.method, &path, &scene.body(row)).await;
            let said = reply.status;
            if needed > role {
                assert_eq!((said, code(&reply)), (403, 40300), "{who}: {path}");
                continue;
            }
            match row.scoped {
                Scoped::Refused => assert_eq!((said, code(&reply)), (403, 40302), "{who}: {path}"),
                Scoped::Whole => is_let_in(&who, row, &reply),
                Scoped::Narrowed => {
                    is_let_in(&who, row, &reply);
                    let told = text(&reply).contains(&scene.untagged.id.to_string());
                    assert!(!told, "{who}: {path}: {}", text(&reply));
                    if is_upload || is_of_a_device(row) {
                        let others = scene.things_of(row, &scene.untagged, owner).await;
                        scene.hides(&who, key, row, &others, owner).await;
                    }
                    if row.path.starts_with("/v1/devices/") {
                        let named = [named(&scene).await];
                        scene.hides(&who, key, row, &named, owner).await;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn what_an_admin_claimed_does_not_exist_for_editors_and_viewers() {
    let scene = Scene::open().await;
    let (device, owner) = (&scene.reserved, scene.home.of(Role::Owner));
    let id = device.id.to_string();
    for row in TABLE {
        let Some(needed) = row.role else { continue };
        for role in [Role::Viewer, Role::Editor]
            .into_iter()
            .filter(|role| *role >= needed)
        {
            for (who, keys) in [("", &scene.home), ("scoped ", &scene.scoped)] {
                let who = format!("{who}{} and a reserved device", role.as_str());
                let key = keys.of(role);
                let things = scene.things_of(row, device, owner).await;
                if is_of_a_device(row) {
                    scene.hides(&who, key, row, &things, owner).await;
                } else if row.method == "GET" {
                    let reply = scene.ask(key, "GET", &filled(row, &things), "").await;
                    let said = text(&reply);
                    assert!(!said.contains(&id), "{who}: {}: {said}", row.path);
                }
            }
        }
    }
    scene.devices().await;
    let path = format!("/v1/claimed-devices/{id}");
    for role in [Role::Admin, Role::Owner] {
        let reply = scene.ask(scene.home.of(role), "GET", &path, "").await;
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test]
async fn a_stream_of_events_tells_each_key_of_the_devices_that_it_sees() {
    let scene = Scene::open().await;
    let (tagged, untagged) = (&scene.tagged, &scene.untagged);
    let (reserved, theirs) = (&scene.reserved, &scene.theirs);
    for role in Role::ALL {
        let admin = role >= Role::Admin;
        let home = match admin {
            true => vec![tagged, untagged, reserved],
            false => vec![tagged, untagged],
        };
        let scoped = match admin {
            true => vec![tagged, reserved],
            false => vec![tagged],
        };
        let views = [
            ("home", &scene.home, home),
            ("scoped", &scene.scoped, scoped),
            ("north", &scene.north, vec![theirs]),
        ];
        for (team, keys, seen) in views {
            if keys.of(role).is_empty() {
                continue;
            }
            let who = format!("{} of {team}", role.as_str());
            let mut stream = scene.stream(keys.of(role)).await;
            // What has happened, and then what happens while somebody reads.
            for part in ["before", "meanwhile"] {
                for device in scene.all_devices() {
                    scene.alarm(device, "").await;
                }
                let mark = format!("{part}, by a {who}");
                scene.alarm(seen[0], &mark).await;
                let said = stream.until(&mark).await;
                for device in scene.all_devices() {
                    let is_told = said.contains(&device.id.to_string());
                    let sees = seen.iter().any(|seen| seen.id == device.id);
                    assert_eq!(is_told, sees, "{part}, {who}: {}: {said}", device.id);
                }
                if team == "north" {
                    for ours in scene.names_of_home().await {
                        assert!(!said.contains(&ours), "{who}: `{ours}`: {said}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn every_route_has_a_row_and_every_row_a_route() {
    let town = Town::start().await;
    let document = town.owner("GET", "/v1/openapi.json", None).await.json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "patch", "delete"] {
            if item.get(method).is_some() {
                let path = path.replace("/v1/identities/", "/v1/");
                routes.push((method.to_uppercase(), path));
            }
        }
    }
    for (method, path) in &routes {
        let has_row = TABLE
            .iter()
            .any(|row| row.method == method && row.path == path);
        assert!(has_row, "no row for {method} {path}: it is refused");
    }
    for row in TABLE.iter().filter(|row| row.path != "/docs") {
        let has_route = routes
            .iter()
            .any(|(method, path)| row.method == method && row.path == path);
        assert!(has_route, "no route for {} {}", row.method, row.path);
    }
}

#[tokio::test]
async fn a_route_without_a_row_and_a_method_without_one_are_refused() {
    let town = Town::start().await;
    let reply = town.owner("PUT", "/v1/status", None).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET")));
    let reply = town.owner("GET", "/v1/nothing", None).await;
    assert_eq!((reply.status, code(&reply)), (404, 40401));
    // Which paths there are is told to keys only.
    for path in ["/v1/nothing", "/v1/status"] {
        assert_eq!(town.owner_raw("PUT", path, "", "").await.status, 401);
    }
}

#[test]
fn the_reference_has_the_table() {
    let page = include_str!("../../../docs/reference/roles.md");
    let told: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let rows: Vec<String> = TABLE.iter().map(line_of).collect();
    assert_eq!(
        told,
        rows,
        "docs/reference/roles.md should say:\n{}",
        rows.join("\n")
    );
}

fn line_of(row: &Row) -> String {
    let role = row.role.map_or("nobody's key", Role::as_str);
    let others = match row.what {
        What::Service => "the same",
        What::OwnTeam => "their own",
        What::Thing => "404",
        What::Home => "403",
        What::Secret => "what they were told the path of",
    };
    let scoped = match row.scoped {
        Scoped::Narrowed => "devices with their tags",
        Scoped::Whole => "all",
        Scoped::Refused => "403",
    };
    format!(
        "| `{} {}` | {role} | {others} | {scoped} |",
        row.method, row.path
    )
}
