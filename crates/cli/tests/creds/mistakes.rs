//! What a new user types wrong, and ports and modems that do not do as they should.

use crate::desk::{Bench, Desk};
use sectag_modem::Options;
use sectag_modem::host::{Mode, Terminator};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_key_that_others_may_read_is_refused_with_the_command_that_repairs_it() {
    let desk = Desk::new();
    desk.creds("files", &["keygen", "42", "--attributes", "CN=gw"])
        .expect_code(0);
    let key = desk.home.path().join("credentials/42/client.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    desk.refuses(
        &["creds", "list", "--modem", "files"],
        2,
        "error: `HOME/credentials/42/client.key` is private, but others may open it (mode 0644)\n\n\
         hint: run `chmod 600 'HOME/credentials/42/client.key'`\n",
    );
}

#[test]
fn a_port_is_refused_when_it_is_none_or_in_use() {
    let desk = Desk::new();
    desk.refuses(
        &["creds", "list", "--modem", "/dev/nonexistent"],
        2,
        "error: cannot use the port `/dev/nonexistent`\n  caused by: No such file or directory (os error 2)\n\n\
         hint: `ls /dev/serial/by-id/` shows what is plugged in; a board has several ports, the modem is mostly on the first\n",
    );
    desk.refuses(
        &["creds", "list", "--modem", "ttyUSB0"],
        2,
        "error: invalid value 'ttyUSB0' for '--modem <MODEM>': no kind of modem; give virtual (the device --name of this home), a serial port or pty, tcp:HOST:PORT, or files[:DIR]; a port has a path, for example /dev/ttyUSB0\n\n\
         For more information, try '--help'.\n",
    );
    let bench = Bench::at();
    let held = sectag_modem::serial::SerialModem::open(&bench.pty, Default::default()).unwrap();
    let output = desk.creds(&bench.pty, &["imei"]).expect_code(2);
    assert!(
        output.stderr.contains("is in use by another program"),
        "{}",
        output.stderr
    );
    drop(held);
    desk.creds(&bench.pty, &["imei"]).expect_code(0);
}

#[test]
fn a_port_without_a_modem_says_what_to_check() {
    let desk = Desk::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    // Somebody who answers, and is no modem.
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut to = stream.try_clone().unwrap();
        for line in BufReader::new(stream).lines() {
            if line.is_err() || to.write_all(b"220 hello\r\nERROR\r\n").is_err() {
                return;
            }
        }
    });
    let output = desk.creds(&address, &["imei"]).expect_code(2);
    assert!(
        output.stderr.contains("neither `at AT+CGSN` nor `AT+CGSN` brought an IMEI, the last words were `220 hello ERROR`"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("CONFIG_AT_HOST_LIBRARY"));
}

#[test]
fn typical_mistakes() {
    let desk = Desk::new();
    desk.put("garbage.txt", "garbage\n");
    desk.put("empty.pem", "\n");
    std::fs::write(desk.certs().join("der.bin"), [0x30, 0x82, 0xff, 0x00]).unwrap();
    let pem_hint = "\n\nhint: they begin with -----BEGIN CERTIFICATE-----; DER is converted by `openssl x509 -inform der`\n";
    for (args, code, stderr) in [
        (
            &["creds", "write", "1", "0", "nothing.pem"][..],
            2,
            "error: failed to read `nothing.pem`: No such file or directory (os error 2)\n".to_owned(),
        ),
        (
            &["creds", "write", "1", "0", "garbage.txt"],
            1,
            format!("error: `garbage.txt` holds no PEM, but ROOT_CA_CERT (0) takes certificates in PEM{pem_hint}"),
        ),
        (
            &["creds", "write", "1", "0", "private-key.pem"],
            1,
            "error: `private-key.pem` holds a private key, but ROOT_CA_CERT (0) takes certificates in PEM\n\n\
             hint: a private key is CLIENT_KEY (2)\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "1", "2", "ca-cert.pem"],
            1,
            "error: `ca-cert.pem` holds a certificate, but CLIENT_KEY (2) takes a private key in PEM without a password\n\n\
             hint: it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "1", "3", "garbage.txt"],
            1,
            "error: `garbage.txt` holds something else, but PSK (3) takes an even number of hexadecimal digits\n\n\
             hint: `openssl rand -hex 32` makes one\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "1", "0", "empty.pem"],
            1,
            "error: `empty.pem` is empty\n".to_owned(),
        ),
        (
            &["creds", "write", "1", "0", "der.bin"],
            1,
            "error: `der.bin` is not text\n\n\
             hint: credentials are PEM; DER is converted by `openssl x509 -inform der -in FILE` or `openssl pkey -inform der -in FILE`\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "2147483648", "0", "ca-cert.pem"],
            2,
            "error: invalid value '2147483648' for '<TAG>': sec tag 2147483648 is out of range: 0 to 2147483647 are for users\n\n\
             For more information, try '--help'.\n"
                .to_owned(),
        ),
        (
            &["creds", "write", "1", "CERTIFICATE", "ca-cert.pem"],
            2,
            "error: invalid value 'CERTIFICATE' for '<TYPE>': `CERTIFICATE` is not a credential type; there are ROOT_CA_CERT (0), CLIENT_CERT (1), CLIENT_KEY (2), PSK (3), PSK_ID (4), PUB_KEY (5), DEV_ID_PUB_KEY (6), ENDORSEMENT_KEY (8), OWNERSHIP_KEY (9), NORDIC_ID_ROOT_CA (10), NORDIC_PUB_KEY (11)\n\n\
             For more information, try '--help'.\n"
                .to_owned(),
        ),
        (
            &["creds", "read", "1", "CLIENT_KEY"],
            1,
            "error: sec tag 1, CLIENT_KEY (2): no access to this type (-EACCES, CME 514)\n\n\
             hint: private keys and PSKs can be listed with their digest, never read\n"
                .to_owned(),
        ),
        (
            &["creds", "delete", "1", "0"],
            1,
            "error: sec tag 1, ROOT_CA_CERT (0): not found (-ENOENT, CME 513)\n\n\
             hint: list what is there with `sectag creds list`\n"
                .to_owned(),
        ),
        (
            &["creds", "keygen", "1", "--attributes", "foo"],
            1,
            "error: sec tag 1, CLIENT_KEY (2): the modem answered `+CME ERROR: 50`\n\n\
             hint: attributes are K=V,K=V with CN, serialNumber, C (two letters), L, ST, O, OU; a value has 64 characters at most\n"
                .to_owned(),
        ),
        (
            &["creds", "keygen", "1", "--modem", "files"],
            2,
            "error: sec tag 1, CLIENT_KEY (2): invalid: files have no device UUID for the subject of a CSR: give attributes, for example `CN=dev-1` (-EINVAL)\n"
                .to_owned(),
        ),
        (
            &["creds", "imei", "--modem", "files"],
            1,
            "error: files have no IMEI\n\nhint: give --modem virtual, a port, or tcp:HOST:PORT\n".to_owned(),
        ),
        (
            &["creds", "apply", "."],
            2,
            "error: `./ca-cert.pem` needs a sec tag\n\nhint: give it with --tag TAG\n".to_owned(),
        ),
        (
            &["creds", "apply", "ca-cert.pem"],
            1,
            "error: `ca-cert.pem` is PEM, not a manifest\n\n\
             hint: one file is written with `sectag creds write TAG TYPE FILE`\n"
                .to_owned(),
        ),
        (
            &["creds", "exists", "1", "0"],
            1,
            "error: sec tag 1, ROOT_CA_CERT (0) is empty\n".to_owned(),
        ),
        (
            &["creds", "list", "1"],
            0,
            "nothing under sec tag 1; `sectag creds write TAG TYPE FILE` puts something there\n".to_owned(),
        ),
    ] {
        desk.refuses(args, code, &stderr);
    }
    desk.put("tags.toml", "[tags.24]\nrootca = \"ca-cert.pem\"\n");
    desk.refuses(
        &["creds", "apply", "tags.toml"],
        1,
        "error: `tags.toml`: `rootca` is unknown in [tags.24]\n\nhint: did you mean `root_ca`?\n",
    );
}

#[test]
fn a_modem_that_refuses_is_quoted_and_put_back_online() {
    let desk = Desk::new();
    let options = Options {
        faults: vec![sectag_modem::Fault::cme("AT%CMNG=0", 1, 515)],
        ..Options::default()
    };
    let bench = Bench::new(Mode::At(Terminator::CrLf), options);
    bench.modem.clone().line("AT+CFUN=1");
    let output = desk
        .creds(&bench.tcp, &["write", "24", "0", "ca-cert.pem"])
        .expect_code(1);
    assert_eq!(
        output.stderr,
        "error: sec tag 24, ROOT_CA_CERT (0): the storage is full (-ENOMEM, CME 515)\n\n\
         hint: delete what is not needed: `sectag creds list`, then `sectag creds delete TAG TYPE`\n"
    );
    assert_eq!(bench.mode(), "+CFUN: 1\r\nOK\r\n");
}

#[test]
fn files_without_an_end_are_not_read_to_their_end() {
    let desk = Desk::new();
    let refusal = "error: `/dev/zero` has more than 65536 bytes; a modem takes 4096\n";
    desk.refuses(&["creds", "write", "5", "0", "/dev/zero"], 1, refusal);
    desk.refuses(&["creds", "cmp", "5", "0", "/dev/zero"], 1, refusal);
    desk.refuses(&["creds", "apply", "/dev/zero"], 1, refusal);
}

#[test]
fn a_shell_that_is_none_is_said_to_be_asked_wrongly() {
    let desk = Desk::new();
    let bench = Bench::at();
    desk.refuses(
        &["creds", "list", "--mode", "shell", "--modem", &bench.tcp],
        1,
        "error: the modem answered `ERROR`\n\n\
         hint: does a modem answer there, and as --mode says? without --mode it is found out\n",
    );
}

#[test]
fn a_line_that_was_cut_is_not_sent() {
    let desk = Desk::new();
    let long = format!("AT%CMNG=0,5,4,\"{}\"", "A".repeat(70_000));
    desk.put("long", &long);
    let mut command = crate::support::sectag(&desk.home.path());
    command
        .current_dir(desk.certs())
        .args(["modem", "at", "-"])
        .stdin(std::fs::File::open(desk.certs().join("long")).unwrap());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("stdin has more than 65536 bytes"),
        "{output:?}"
    );
}

#[test]
fn a_port_that_goes_away_in_the_middle_could_not_be_asked() {
    let desk = Desk::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    let modem = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut to = stream.try_clone().unwrap();
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            let information = match line.trim() {
                "AT+CFUN?" => "+CFUN: 1\r\n",
                "AT+CMEE?" => "+CMEE: 0\r\n",
                line if line.starts_with("AT%CMNG=3") => return,
                line if line.starts_with("AT") => "",
                _ => continue,
            };
            to.write_all(format!("{information}OK\r\n").as_bytes())
                .unwrap();
        }
    });
    let args = [
        "creds", "delete", "5", "0", "--mode", "at", "--modem", &address,
    ];
    let output = desk.sectag(&args).expect_code(2);
    modem.join().unwrap();
    assert!(
        output
            .stderr
            .starts_with("error: the modem did not go back to functional mode 1\n"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_modem_whose_state_is_broken_has_its_own_way_out() {
    let desk = Desk::new();
    desk.sectag(&["creds", "imei"]).expect_code(0);
    let state = desk.home.path().join("devices/device-1/modem.json");
    std::fs::write(state, "{broken").unwrap();
    let output = desk.sectag(&["creds", "imei"]).expect_code(2);
    assert!(
        output
            .stderr
            .contains("restore it from a backup, or remove it to begin with a new device"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("--home DIR"), "{}", output.stderr);
}
