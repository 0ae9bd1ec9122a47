//! Network interfaces and their addresses, asked over netlink (RFC 3549, `rtnetlink(7)`).
//!
//! A dump of addresses is one request and a few messages; each has an index, an address, and attributes. The names come
//! from `/sys/class/net`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use sectag_gateway::facts::Interface;

const RTM_GETADDR: u16 = 22;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const REQUEST_DUMP: u16 = 0x301;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const HEADER_BYTES: usize = 16;
const ADDRESS_HEADER_BYTES: usize = 8;
/// Answers of the kernel are at most this long (`netlink(7)`).
const ANSWER_BYTES_MAX: usize = 32 * 1024;
/// Messages that are read; a machine with more addresses than fit is not one that we judge.
const ANSWERS_MAX: usize = 1024;

/// All interfaces, also those without an address, by name.
///
/// # Errors
/// When the kernel does not answer, as in a sandbox without netlink.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let names = names()?;
    let mut found: BTreeMap<u32, Vec<IpAddr>> =
        names.keys().map(|index| (*index, Vec::new())).collect();
    for (index, address) in addresses()? {
        found.entry(index).or_default().push(address);
    }
    let mut all: Vec<Interface> = found
        .into_iter()
        .filter_map(|(index, mut addresses)| {
            addresses.sort_unstable();
            addresses.dedup();
            let name = names.get(&index)?.clone();
            Some(Interface { name, addresses })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn names() -> io::Result<BTreeMap<u32, String>> {
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        let Ok(index) = std::fs::read_to_string(entry.path().join("ifindex")) else {
            continue; // it went away, or is a file of the bonding driver
        };
        if let (Ok(index), Ok(name)) = (index.trim().parse(), entry.file_name().into_string()) {
            names.insert(index, name);
        }
    }
    Ok(names)
}

fn addresses() -> io::Result<Vec<(u32, IpAddr)>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // NETLINK_ROUTE
    )?;
    rustix::net::send(&socket, &request(), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    for _ in 0..ANSWERS_MAX {
        let (length, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if read(&buffer[..length], &mut found)? {
            return Ok(found);
        }
    }
    Err(io::Error::other(
        "the kernel's list of addresses does not end",
    ))
}

fn request() -> [u8; HEADER_BYTES + ADDRESS_HEADER_BYTES] {
    let mut request = [0; HEADER_BYTES + ADDRESS_HEADER_BYTES];
    let length = (HEADER_BYTES + ADDRESS_HEADER_BYTES) as u32; // 24
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETADDR.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request
}

/// Reads the messages of one answer; true at the end of the dump.
fn read(mut answer: &[u8], found: &mut Vec<(u32, IpAddr)>) -> io::Result<bool> {
    while let Some(length) = number_4(answer, 0) {
        let length = length as usize;
        let kind = number_2(answer, 4).unwrap_or_default();
        let Some(message) = answer.get(HEADER_BYTES..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(io::Error::other("the kernel refuses to list addresses")),
            RTM_NEWADDR => found.extend(address(message)),
            _ => {}
        }
        answer = answer.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn address(message: &[u8]) -> Option<(u32, IpAddr)> {
    let index = number_4(message, 4)?;
    let mut attributes = message.get(ADDRESS_HEADER_BYTES..)?;
    let (mut local, mut peer) = (None, None);
    while let (Some(length), Some(kind)) = (number_2(attributes, 0), number_2(attributes, 2)) {
        let value = attributes.get(4..usize::from(length))?;
        match kind {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => peer = ip(value),
            _ => {}
        }
        attributes = attributes
            .get(aligned(usize::from(length))..)
            .unwrap_or_default();
    }
    // On a point-to-point link the address is the other end's; the local one is ours.
    Some((index, local.or(peer)?))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn number_4(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn number_2(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_interface_with_its_address() {
        let Ok(all) = interfaces() else { return }; // a sandbox without netlink
        let lo = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(
            lo.addresses.contains(&"127.0.0.1".parse().unwrap()),
            "{lo:?}"
        );
    }

    #[test]
    fn a_message_that_lies_about_its_length_is_refused() {
        let mut found = Vec::new();
        let mut lie = 400_u32.to_ne_bytes().to_vec();
        lie.extend([0; 20]);
        assert!(read(&lie, &mut found).is_err());
        assert!(!read(&[], &mut found).unwrap());
        let mut short = 8_u32.to_ne_bytes().to_vec();
        short.extend([0; 20]);
        assert!(read(&short, &mut found).is_err());
    }
}
