//! Fills `gateway`'s [`Machine`]: clock, interfaces, names, users; and has it judged for whoever changes a key.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::{SystemTime, UNIX_EPOCH};

use sectag_gateway::facts::{Facts, Machine, User};
use sectag_gateway::findings::{Asked, Finding, find_asked, fixes_name_machine};
use sectag_gateway::mosquitto::BrokerVersion;
use sectag_gateway::{Host, Settings};

use crate::interfaces::interfaces;

/// This machine, without a broker: enough for our clients, and for `config check` where mosquitto is not installed.
/// Names of the settings are resolved, which may take as long as the resolver does.
pub fn machine(settings: &Settings) -> Machine {
    Machine {
        resolved: resolve(settings),
        ..unresolved()
    }
}

/// As [`machine`], without asking a resolver: for whoever must not wait.
pub fn unresolved() -> Machine {
    Machine {
        now_s: now_s(),
        interfaces: interfaces().ok(),
        host_names: host_names(),
        service_user: user_by_id(rustix::process::geteuid().as_raw()),
        ..Machine::default()
    }
}

/// What is found on this machine, without asking a resolver. Whoever waits for it waits for files and interfaces only where
/// one of these findings can come from them.
pub fn findings(settings: &Settings, asked: &Asked) -> Vec<Finding> {
    let mut facts = Facts::gather_asked(settings, &only(settings, asked), asked);
    let found = find_asked(settings, &facts, asked);
    if !fixes_name_machine(&found) {
        return found;
    }
    facts.machine = unresolved();
    find_asked(settings, &facts, asked)
}

/// As [`unresolved`], with no more than those findings need.
fn only(settings: &Settings, asked: &Asked) -> Machine {
    let addresses = asked.addresses(settings);
    let own = rustix::process::geteuid().as_raw();
    Machine {
        now_s: now_s(),
        interfaces: addresses.then(|| interfaces().ok()).flatten(),
        host_names: if addresses { host_names() } else { Vec::new() },
        service_user: asked.users().then(|| user_by_id(own)).flatten(),
        ..Machine::default()
    }
}

/// As [`machine`], with what is known about the broker.
pub fn machine_with(settings: &Settings, broker: BrokerVersion, user: Option<User>) -> Machine {
    Machine {
        broker: Some(broker),
        broker_user: user,
        ..machine(settings)
    }
}

/// Unix seconds.
pub fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A user by name.
pub fn user(name: &str) -> Option<User> {
    User::find(name, &read("/etc/passwd"), &read("/etc/group"))
}

/// A user by number.
pub fn user_by_id(uid: u32) -> Option<User> {
    let passwd = read("/etc/passwd");
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid))?;
    User::find(line.split(':').next()?, &passwd, &read("/etc/group"))
}

/// Names of this host: as the kernel has it, its first label, and what `/etc/hosts` says beside it.
pub fn host_names() -> Vec<String> {
    let uname = rustix::system::uname();
    let own = uname.nodename().to_string_lossy().to_ascii_lowercase();
    let mut names = Vec::new();
    let mut add = |name: &str| {
        let name = name.to_ascii_lowercase();
        let is_name = matches!(name.parse(), Ok(Host::Name(_)));
        if is_name && name != "localhost" && !names.contains(&name) {
            names.push(name);
        }
    };
    add(&own);
    add(own.split('.').next().unwrap_or_default());
    for line in read("/etc/hosts").lines() {
        let line = line.split('#').next().unwrap_or_default();
        let beside: Vec<&str> = line.split_whitespace().skip(1).collect();
        if beside.iter().any(|name| name.eq_ignore_ascii_case(&own)) {
            beside.iter().for_each(|name| add(name));
        }
    }
    names
}

fn resolve(settings: &Settings) -> BTreeMap<String, Vec<IpAddr>> {
    let external = settings.external.as_ref().and_then(|e| e.address.as_ref());
    let hosts = [external, Some(&settings.client.host)];
    let names = hosts.into_iter().flatten().filter_map(|host| match host {
        Host::Name(name) => Some(name.clone()),
        Host::Ip(_) => None,
    });
    names
        .map(|name| {
            let found = (name.as_str(), 0).to_socket_addrs();
            let mut addresses: Vec<IpAddr> = found
                .map(|found| found.map(|address| address.ip()).collect())
                .unwrap_or_default();
            addresses.dedup();
            (name, addresses)
        })
        .collect()
}

fn read(path: &str) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn we_are_a_user_of_this_machine() {
        let uid = rustix::process::geteuid().as_raw();
        if let Some(own) = user_by_id(uid) {
            assert_eq!(user(&own.name).unwrap(), own);
        }
        assert_eq!(user("no such user"), None);
    }
}
