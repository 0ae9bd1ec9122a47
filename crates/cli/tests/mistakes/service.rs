//! A service that does not run, or cannot be started.

use crate::desk::{Desk, free_port, refuses};
use crate::support::Home;
use std::io::Read as _;

#[test]
fn a_service_that_does_not_run_is_said_to_not_run() {
    let home = Home::new();
    refuses(
        &home,
        &["devices"],
        2,
        "error: no API key: `HOME/owner.key`: No such file or directory (os error 2)\n\n\
         hint: `sectag up` writes it when it first starts; for a service elsewhere give --key-file\n",
    );
    refuses(
        &home,
        &["ca"],
        1,
        "error: no CA in `HOME/ca`\n\n\
         hint: `sectag ca init` makes one, and `sectag up` does when it first starts; another home is chosen with --home\n",
    );
    refuses(
        &home,
        &["mqtt", "sub", "--operator", "-t", "#"],
        2,
        "error: failed to read `HOME/ca/root.crt`: No such file or directory (os error 2)\n\n\
         hint: `sectag up` makes the root CA and the operator certificate when it first starts; others are given with --ca, --cert and --key\n",
    );
    // It has been up and is gone. A port that was just free stands for the default ones, which may be taken here.
    assert!(home.up(&[]).stop().success());
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let output = home.sectag(&["status", "--url", &url]);
    assert_eq!(
        output.stderr,
        format!(
            "error: no service answers at {url}/: Connection refused (os error 111)\n\n\
             hint: start one with `sectag up`, or say where it is with --url\n"
        )
    );
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    let port = port.to_string();
    let output = home.sectag(&["mqtt", "sub", "--operator", "-t", "#", "--port", &port]);
    assert_eq!(
        output.stderr,
        format!(
            "error: nothing listens at 127.0.0.1:{port}: port {port} was asked for at `localhost`, usual is 8883 for MQTT over TLS\n\n\
             hint: start the broker, or correct host and port\n"
        )
    );
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    let output = home.sectag(&["device", "run", "--port", &port]);
    assert_eq!(
        output.stderr,
        format!(
            "  modem    AT%CCLK? → OK\n  \
             GET      no answer: fetching commands from localhost:{port}: the connection was refused: Connection refused (os error 111)\n\
             error: no TLS session with localhost:{port}: nothing listens there, or its certificate does not chain to the root CA under sec tag 50\n\n\
             hint: is the service up (`sectag status`)? is `--ca` the file of that service's home?\n"
        )
    );
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), "FAILED\n"));
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let desk = Desk::new();
    let other = Home::new();
    let listeners = desk.up.listeners;
    for (what, taken) in [
        ("owner", listeners.owner),
        ("loopback", listeners.loopback),
        ("device", listeners.device),
        ("mqtt", listeners.mqtt),
    ] {
        let mut args = vec!["up".to_owned()];
        for listener in ["owner", "loopback", "device", "mqtt"] {
            args.push(format!("--listen-{listener}"));
            args.push(if listener == what {
                taken.to_string()
            } else {
                "127.0.0.1:0".to_owned()
            });
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = other.sectag_with(&args, &[("SECTAG_LOG", "off")]);
        let port = taken.port();
        assert_eq!(
            output.stderr,
            format!(
                "error: cannot listen on 127.0.0.1:{port} for {what}\n  caused by: Address already in use (os error 98)\n\n\
                 hint: another program has port {port}; is a service running already (`sectag status`)? \
                 Else set `listen.{what}` in sectag.toml, or `--listen-{what} 127.0.0.1:0` for any free port\n"
            )
        );
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    }
}

#[test]
fn a_home_that_cannot_be_used_says_why() {
    let desk = Desk::new();
    desk.refuses(
        &["up"],
        2,
        "error: the home `HOME` is in use by process PID\n\n\
         hint: `sectag status` shows it; stop process PID first, or choose another home with `--home`\n",
    );
    std::fs::write(desk.home.beside("file"), "").unwrap();
    let below = desk.home.beside("file/home");
    let below = below.to_str().unwrap();
    desk.refuses(
        &["up", "--home", below],
        2,
        "error: cannot use the home `BESIDE/file/home`\n  caused by: cannot create directory `BESIDE/file/home`\n  \
         caused by: Not a directory (os error 20)\n\n\
         hint: choose a directory that you may write with `--home DIR`\n",
    );
    desk.refuses(
        &["device", "run", "--home", below],
        2,
        "error: cannot use a device of the home `BESIDE/file/home`\n  caused by: cannot create directory `BESIDE/file/home`\n  \
         caused by: Not a directory (os error 20)\n\n\
         hint: choose a directory that you may write with `--home DIR`\n",
    );
}

#[test]
fn a_wrong_setting_stops_the_start_and_gets_a_suggestion() {
    let home = Home::new();
    assert!(home.up(&[]).stop().success());
    let settings = home.path().join("sectag.toml");
    std::fs::write(&settings, "# mine\npolcy = \"first-claim\"\n").unwrap();
    refuses(
        &home,
        &["up"],
        2,
        "error: HOME/sectag.toml: line 2: unknown field `polcy`, expected one of `names`, `policy`, `open-commands-max`, `listen`, `coap`, `owner`, `webhooks`, `certificate`\n\n\
         hint: did you mean `policy`?\n",
    );
    std::fs::write(&settings, "policy = \"everybody\"\n").unwrap();
    refuses(
        &home,
        &["up"],
        2,
        "error: HOME/sectag.toml: line 1: unknown variant `everybody`, expected one of `auto`, `first-claim`, `allow-list`\n",
    );
    std::fs::remove_file(&settings).unwrap();
    refuses(
        &home,
        &[
            "up",
            "--listen-loopback",
            "0.0.0.0:0",
            "--listen-owner",
            "127.0.0.1:0",
        ],
        2,
        "error: 0.0.0.0:0 is not a loopback address, and this listener speaks plain HTTP\n\n\
         hint: use the owner listener (TLS) for other machines\n",
    );
}

#[test]
fn a_service_that_ends_in_the_middle_of_a_call_is_not_taken_for_another_program() {
    let home = Home::new();
    assert!(home.up(&[]).stop().success());
    let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", door.local_addr().unwrap());
    let service = std::thread::spawn(move || {
        let (mut caller, _) = door.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            caller.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
    });
    refuses(
        &home,
        &["devices", "--url", &url],
        2,
        &format!(
            "error: {url}/ ended the connection without an answer: connection closed before message completed\n\n\
             hint: whether it was done is not known; `sectag status` tells whether the service is up\n"
        ),
    );
    service.join().unwrap();
}
