//! The names of this machine, for server certificates (spec/gateway-config §12.2, RULE 20).

use std::net::IpAddr;

/// The machine's own name, up to its first dot.
pub(crate) fn host_name() -> Option<String> {
    let name = node_name()?;
    let short = name.split('.').next().unwrap_or_default().to_owned();
    (!short.is_empty()).then_some(short)
}

/// The machine's name, and its fully qualified one when it is known without asking the network: by the name itself, or by
/// `/etc/hosts`, as the C library does.
pub(crate) fn host_names() -> Vec<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    names(&node_name().unwrap_or_default(), &hosts)
}

fn node_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

fn names(node: &str, hosts: &str) -> Vec<String> {
    let short = node.split('.').next().unwrap_or_default();
    let mut names = vec![short.to_owned()];
    if node.contains('.') {
        names.push(node.to_owned());
    }
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let is_address = words
            .next()
            .is_some_and(|word| word.parse::<IpAddr>().is_ok());
        let all: Vec<String> = words.map(str::to_ascii_lowercase).collect();
        // The first name of a line is the canonical one.
        if is_address
            && all.iter().any(|name| name == node || name == short)
            && let Some(canonical) = all.first().filter(|name| name.contains('.'))
        {
            names.push(canonical.clone());
        }
    }
    names.retain(|name| !name.is_empty() && name != "localhost");
    let mut seen = Vec::new();
    names.retain(|name| {
        !seen.contains(name) && {
            seen.push(name.clone());
            true
        }
    });
    names
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn the_full_name_is_the_node_s_or_the_first_of_its_line() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1\tgw.plant.example gw # ours\n::1 localhost\nbad gw.x gw\n";
        assert_eq!(names("gw", hosts), ["gw", "gw.plant.example"]);
        assert_eq!(names("gw.here", ""), ["gw", "gw.here"]);
        assert_eq!(names("gw", "127.0.0.1 gw"), ["gw"]);
        assert_eq!(names("localhost", hosts), Vec::<String>::new());
        assert!(names("", "").is_empty());
    }
}
