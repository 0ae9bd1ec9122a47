//! What is typed wrong before anything is tried.

use crate::desk::{NOBODY, refuses};
use crate::support::{Home, run, sectag};

#[test]
fn without_a_verb_the_help_is_shown() {
    let home = Home::new();
    let mut command = sectag(&home.path());
    command.env("COLUMNS", "100").env_remove("SECTAG_HOME");
    let output = run(command);
    assert_eq!(output.code, Some(2));
    assert_eq!(output.stdout, "");
    assert_eq!(
        output.stderr,
        "\
Takes a device from blank to a mutually authenticated MQTT session over TLS, and keeps it there

Usage: sectag [OPTIONS] <COMMAND>

Commands:
  up          Run the service: owner API, device API, CA and MQTT broker, in one process with one
              home
  demo        Tell the whole story in one command: a blank device ends in an MQTT session over
              mutual TLS
  status      Show what runs and where it listens
  claim       Claim a device by its attestation token
  devices     The claimed devices
  commands    The command queue of a device
  rules       What devices with a tag get when they show up
  tags        The registry of tags: groups of devices
  plan        What a device, a tag's devices, or the devices of a rule will get: the exact commands,
              before anything runs
  forecast    What will stop working in 30, 60, 90 days: certificates that end and are not renewed
              as things stand
  renewals    Renewals under way, or everything about one device's certificates
  keys        API keys of people and programs
  teams       Teams: people who share devices, keys, an allow-list and an issuing CA
  allow-list  Which devices may be claimed, and under which key, where the policy is allow-list
  events      What happens, as it happens: claims, fetches, results, certificates, alarms
  alarms      What somebody should look at: keys that changed, twins, reports that make no sense,
              renewals that fail
  webhooks    Where events are sent
  audit       Who did what, and the proof that nobody changed the record of it
  openapi     The owner API as an OpenAPI document; a running service shows it at /docs
  device      Be a device: a virtual modem and the provisioning client
  modem       A virtual modem on a pty or TCP; one AT line to any modem
  nrf91       What a real nRF91's firmware needs to reach this service
  creds       Credentials under security tags: over AT serial, a virtual modem, or files
  mqtt        Publish or subscribe over MQTT; the SDK's sample; a broker
  ca          The home's certificate authorities: make, import, show and export them
  config      What the broker and its clients must know: keys in thin-edge.io's names
  gateway     The broker of this machine: plan, apply and prove what the keys ask for
  cert        Certificates: issue, renew, revoke, show, lint, fetch a chain, write headers
  help        Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Options of every verb:
      --home <DIR>               Where everything lives [default: the XDG data directory, e.g.
                                 ~/.local/share/sectag] [env: SECTAG_HOME=]
      --json                     Print data as JSON
  -v, --verbose...               Say more on stderr (-v: info, -vv: debug)
      --url <URL>                The service, e.g. http://127.0.0.1:8441 [default: the one running
                                 in this home] [env: SECTAG_URL=]
      --key-file <FILE>          File with the API key [default: HOME/owner.key] [env:
                                 SECTAG_KEY_FILE=]
      --config-dir <CONFIG_DIR>  Where tedge.toml is [default: TEDGE_CONFIG_DIR, else the home]

Exit code 0: done; 1: the answer is no; 2: it could not be tried. A verb that has others says so.
"
    );
}

#[test]
fn a_typo_gets_a_suggestion() {
    let home = Home::new();
    refuses(
        &home,
        &["sttus"],
        2,
        "error: unrecognized subcommand 'sttus'\n\n  tip: a similar subcommand exists: 'status'\n\n\
         Usage: sectag [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n",
    );
    refuses(
        &home,
        &["commands", "onbord", NOBODY],
        2,
        "error: unrecognized subcommand 'onbord'\n\n  tip: a similar subcommand exists: 'onboard'\n\n\
         Usage: sectag commands [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n",
    );
    refuses(
        &home,
        &["up", "--listen-owner", "8440"],
        2,
        "error: invalid value '8440' for '--listen-owner <ADDR:PORT>': give an address and a port, like 127.0.0.1:8443\n\n\
         For more information, try '--help'.\n",
    );
}
