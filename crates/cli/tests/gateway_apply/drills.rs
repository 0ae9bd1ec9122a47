//! Things that go wrong; after each the broker serves as before and both facts are said.

use super::desk::{As, Desk, Done, as_root, chmod, have_mosquitto};
use std::net::TcpListener;

/// A desk that serves plaintext, with mutual TLS configured and not applied; the state before.
fn about_to_be_mutual(user: As) -> (Desk, Vec<(std::path::PathBuf, Vec<u8>)>) {
    let desk = Desk::ready(user);
    desk.ok(&["gateway", "apply"]);
    let before = desk.state();
    desk.ok(&[
        "gateway",
        "init",
        "--level",
        "mutual",
        "--name",
        "gw-1",
        "--dry-run",
    ]);
    (desk, before)
}

/// It failed, said so, and everything is as it was, the broker included.
#[track_caller]
fn is_undone(desk: &Desk, done: Done, before: &[(std::path::PathBuf, Vec<u8>)], why: &str) {
    let done = done.expect(1);
    done.says(why)
        .says("undone: ")
        .says("serves with them again");
    assert_eq!(desk.state(), before, "{done:#?}");
    is_plaintext(desk);
}

#[track_caller]
fn is_plaintext(desk: &Desk) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for port in [desk.internal, desk.external] {
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let patience = std::time::Duration::from_secs(5);
        let greeting = runtime.block_on(sectag_host::greet(at, patience));
        assert!(
            matches!(greeting, Ok(sectag_host::Greeting::Connack(0))),
            "{port}: {greeting:?}"
        );
    }
}

#[test]
fn a_file_that_the_broker_refuses() {
    if !have_mosquitto() {
        return;
    }
    let (desk, before) = about_to_be_mutual(As::Us);
    // A broker of another make: it knows one word less than the version that it claims.
    let script = desk.read("restart.sh");
    desk.write("restart.sh", &script.replace("PATH=$PATH", "sed -i 's/^use_identity_as_username/use_nothing_as_username/' \"$here\"/home/mosquitto/*.conf\nPATH=$PATH"));
    let done = desk.sectag(&["gateway", "apply"]);
    is_undone(&desk, done, &before, "waiting for the listeners failed");
}

#[test]
fn a_port_that_somebody_else_has() {
    if !have_mosquitto() {
        return;
    }
    let (desk, before) = about_to_be_mutual(As::Us);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    desk.ok(&["config", "set", "mqtt.external.bind.port", &port]);
    let done = desk.sectag(&["gateway", "apply", "--timeout", "8"]);
    is_undone(&desk, done, &before, "Address already in use");
}

#[test]
fn a_key_that_the_brokers_user_cannot_read() {
    if !have_mosquitto() || !as_root() {
        return; // only root can start a broker that becomes somebody else
    }
    let (desk, before) = about_to_be_mutual(As::Mosquitto);
    // Not in the home, so it is somebody's, and only advised on.
    let key = desk.path("server.key");
    std::fs::copy(desk.path("home/pki/server.key"), &key).unwrap();
    chmod(&key, 0o600);
    desk.ok(&[
        "config",
        "set",
        "mqtt.external.key_file",
        key.to_str().unwrap(),
    ]);
    let done = desk.sectag(&["gateway", "apply"]).expect(1);
    done.says("E21").says("nothing is generated");
    assert_eq!(desk.state(), before);
    // Somebody takes the key away after it was placed: the broker itself refuses.
    desk.ok(&[
        "config",
        "set",
        "mqtt.external.key_file",
        desk.path("home/pki/server.key").to_str().unwrap(),
    ]);
    let script = desk.read("restart.sh");
    let closing = "[ -f \"$here/etc/sectag/server.key\" ] && chown 0 \"$here/etc/sectag/server.key\"\nPATH=$PATH";
    desk.write("restart.sh", &script.replace("PATH=$PATH", closing));
    let done = desk.sectag(&["gateway", "apply"]);
    is_undone(&desk, done, &before, "Unable to load server key file");
}

#[test]
fn a_certificate_without_the_name_that_clients_use() {
    if !have_mosquitto() {
        return;
    }
    let (desk, before) = about_to_be_mutual(As::Us);
    desk.ok(&[
        "cert",
        "issue",
        "server",
        "--only-given",
        "--san",
        "elsewhere.example",
        "--force",
    ]);
    let done = desk.sectag(&["gateway", "apply"]).expect(1);
    done.says("E9")
        .says("elsewhere.example")
        .says("nothing is generated");
    assert_eq!(desk.state(), before);
    is_plaintext(&desk);
}

#[test]
fn a_directory_of_cas_without_hash_links() {
    if !have_mosquitto() {
        return;
    }
    let (desk, before) = about_to_be_mutual(As::Us);
    let cas = desk.path("cas");
    std::fs::create_dir(&cas).unwrap();
    std::fs::copy(desk.path("home/pki/clients-ca.crt"), cas.join("ca.crt")).unwrap();
    desk.ok(&[
        "config",
        "set",
        "mqtt.external.ca_path",
        cas.to_str().unwrap(),
    ]);
    let done = desk.sectag(&["gateway", "apply"]).expect(1);
    done.says("E18")
        .says("openssl rehash")
        .says("nothing is generated");
    assert_eq!(desk.state(), before);
    is_plaintext(&desk);
}

#[test]
fn a_broker_that_dies_between_the_write_and_the_probe() {
    if !have_mosquitto() {
        return;
    }
    let (desk, before) = about_to_be_mutual(As::Us);
    // The first restart leaves a broker that ends at once, the second one that lives.
    let script = desk.read("restart.sh");
    let once = "if [ ! -f \"$here/died\" ]; then touch \"$here/died\"; (sleep 0.5; kill -9 \"$(cat \"$here/log/pid\")\") & fi\n";
    desk.write("restart.sh", &format!("{script}{once}"));
    desk.write("slow.sh", "sleep 1\n");
    let done = desk.sectag(&[
        "gateway",
        "apply",
        "--restart-command",
        &format!("{}; sleep 0.7", desk.path("restart.sh").display()),
    ]);
    is_undone(&desk, done, &before, "waiting for the listeners failed");
}

#[test]
fn a_full_disk() {
    if !have_mosquitto() || !as_root() {
        return;
    }
    let desk = Desk::ready(As::Us);
    desk.ok(&["gateway", "apply"]);
    // The home moves to a file system of a few pages.
    let (home, kept) = (desk.path("home"), desk.path("kept"));
    std::fs::rename(&home, &kept).unwrap();
    std::fs::create_dir(&home).unwrap();
    let Some(_mount) = Mount::tmpfs(&home, 256) else {
        return;
    };
    let copied = desk
        .command("cp")
        .args(["-a", "kept/.", "home"])
        .status()
        .unwrap();
    assert!(copied.success());
    desk.ok(&[
        "gateway",
        "init",
        "--level",
        "mutual",
        "--name",
        "gw-1",
        "--dry-run",
    ]);
    let before = desk.state();
    // Whatever page is the last: with each number of free pages it is another write that fails.
    for free in 0..24 {
        let ballast = home.join("ballast");
        let _ = std::fs::remove_file(&ballast);
        fill(&ballast, free);
        let done = desk.sectag(&["gateway", "apply"]);
        let _ = std::fs::remove_file(&ballast);
        if done.code == Some(0) {
            assert!(free > 0, "{done:#?}");
            desk.ok(&["gateway", "probe"]);
            return;
        }
        assert!(matches!(done.code, Some(1 | 2)), "{done:#?}");
        done.says("No space left");
        // What could not even be undone is undone by the next one.
        if desk.path("home/mosquitto/journal.json").exists() {
            let done = desk.sectag(&["gateway", "apply"]);
            done.says("an earlier apply was interrupted");
            return;
        }
        assert_eq!(desk.state(), before, "{free} pages: {done:#?}");
        is_plaintext(&desk);
    }
    panic!("24 pages are enough");
}

#[test]
fn a_restart_that_fails_is_not_called_undone() {
    if !have_mosquitto() {
        return;
    }
    let (desk, _) = about_to_be_mutual(As::Us);
    let done = desk
        .sectag(&[
            "gateway",
            "apply",
            "--restart-command",
            "echo it is masked; exit 5",
        ])
        .expect(1);
    done.says("it is masked")
        .says("the files are as before, but the broker was not restarted with them");
    desk.ok(&["gateway", "apply"])
        .says("an earlier apply was interrupted")
        .says("it is undone");
    desk.ok(&["gateway", "probe"]).says("`gw-1`");
}

#[test]
fn a_restart_that_reaches_nobody() {
    if !have_mosquitto() {
        return;
    }
    let (desk, before) = about_to_be_mutual(As::Us);
    let done = desk.sectag(&[
        "gateway",
        "apply",
        "--restart-command",
        "true",
        "--timeout",
        "2",
    ]);
    is_undone(&desk, done, &before, "waiting for the listeners failed");
}

#[test]
fn a_configuration_that_mosquitto_2_1_refuses_in_its_own_test() {
    if !have_mosquitto() {
        return;
    }
    let (desk, before) = about_to_be_mutual(As::Us);
    let pid = desk.pid();
    // Not a 2.1: it answers the two questions that are asked of one.
    desk.write(
        "mosquitto-2.1",
        "#!/bin/sh\ncase $1 in\n-h) echo 'mosquitto version 2.1.2';;\n--test-config) echo 'Error: Duplicate listener' >&2; exit 3;;\nesac\n",
    );
    chmod(&desk.path("mosquitto-2.1"), 0o755);
    let program = desk.path("mosquitto-2.1");
    let done = desk
        .sectag(&["gateway", "apply", "--broker", program.to_str().unwrap()])
        .expect(1);
    done.says("testing the configuration failed")
        .says("Duplicate listener")
        .says("the broker was not touched");
    assert_eq!((desk.state(), desk.pid()), (before, pid));
    is_plaintext(&desk);
}

/// Writes until nothing fits, then makes room for some pages.
fn fill(path: &std::path::Path, free: u64) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    let page = [0; 4096];
    let mut pages = 0;
    while file.write_all(&page).is_ok() {
        pages += 1;
    }
    file.set_len(u64::from(pages as u32).saturating_sub(free) * 4096)
        .unwrap();
}

struct Mount(std::path::PathBuf);

impl Mount {
    /// `None` where even root may not mount.
    fn tmpfs(at: &std::path::Path, kib: u32) -> Option<Self> {
        let size = format!("size={kib}k,mode=700");
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
            .then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}
