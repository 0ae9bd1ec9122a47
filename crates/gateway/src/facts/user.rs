//! Users, and what the modes on the way to a file let them do.

use sectag_keep::{End, Look, Node};

/// A user of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `mosquitto`.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Other groups.
    pub groups: Vec<u32>,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Read a file, or list a directory.
    Read,
    /// Open files in a directory whose names are known.
    Enter,
}

/// Whether it can be done, by modes and owners; access control lists and security modules are not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Granted,
    /// No; this is what refuses.
    Refused(Node),
    /// The path ends, or is closed to us, before that can be said.
    Unknown,
}

const READ: u32 = 4;
const ENTER: u32 = 1;

impl User {
    /// Looks a user up in the text of `/etc/passwd` and `/etc/group`.
    pub fn find(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let line = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let member = |line: &&str| {
            let members = line.rsplit(':').next().unwrap_or_default();
            members.split(',').any(|member| member.trim() == name)
        };
        let number = |line: &str| line.split(':').nth(2)?.parse().ok();
        Some(Self {
            name: name.to_owned(),
            uid,
            gid,
            groups: group.lines().filter(member).filter_map(number).collect(),
        })
    }

    /// Can this user do it at the end of that way?
    pub fn access(&self, look: &Look, want: Want) -> Access {
        let closed = look.along.iter().find(|node| !self.may(node, ENTER));
        if let Some(node) = closed {
            return Access::Refused(node.clone());
        }
        let (node, bits) = match (&look.end, want) {
            (End::File(node) | End::Other(node), _) => (node, READ),
            (End::Directory(node), Want::Enter) => (node, ENTER),
            (End::Directory(node), Want::Read) => (node, READ | ENTER),
            (End::Missing | End::Blocked(_), _) => return Access::Unknown,
        };
        if self.may(node, bits) {
            Access::Granted
        } else {
            Access::Refused(node.clone())
        }
    }

    fn may(&self, node: &Node, bits: u32) -> bool {
        let granted = if self.uid == 0 {
            return true;
        } else if self.uid == node.uid {
            node.mode >> 6
        } else if self.gid == node.gid || self.groups.contains(&node.gid) {
            node.mode >> 3
        } else {
            node.mode
        };
        granted & bits == bits
    }
}

/// Could somebody without any relation to owner and group read it?
pub(crate) fn is_readable_by_others(look: &Look) -> bool {
    let others = |node: &Node, bits: u32| node.mode & bits == bits;
    let end = matches!(&look.end, End::File(node) if others(node, READ));
    end && look.along.iter().all(|node| others(node, ENTER))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nmosquitto:x:107:115::/var/lib/mosquitto:/bin/false\nbroken:x\n";
    const GROUP: &str = "certs:x:200:tedge, mosquitto\nother:x:201:\nmosquitto:x:115:\n";

    fn node(mode: u32, uid: u32, gid: u32) -> Node {
        Node {
            path: "/k".into(),
            mode,
            uid,
            gid,
        }
    }

    fn file(mode: u32, uid: u32, gid: u32, dir: u32) -> Look {
        Look {
            along: vec![node(dir, 0, 0)],
            end: End::File(node(mode, uid, gid)),
        }
    }

    #[test]
    fn a_user_is_found_with_all_groups() {
        let user = User::find("mosquitto", PASSWD, GROUP).unwrap();
        assert_eq!((user.uid, user.gid, user.groups), (107, 115, vec![200]));
        assert_eq!(User::find("broken", PASSWD, GROUP), None);
        assert_eq!(User::find("nobody", PASSWD, GROUP), None);
    }

    #[test]
    fn owner_group_and_others_are_asked_in_this_order() {
        let user = User::find("mosquitto", PASSWD, GROUP).unwrap();
        let reads = |look: &Look| user.access(look, Want::Read) == Access::Granted;
        assert!(reads(&file(0o400, 107, 0, 0o755)));
        assert!(!reads(&file(0o044, 107, 0, 0o755)));
        assert!(reads(&file(0o040, 0, 200, 0o755)));
        assert!(!reads(&file(0o604, 0, 115, 0o755)));
        assert!(reads(&file(0o004, 0, 0, 0o711)));
        assert!(!reads(&file(0o004, 0, 0, 0o700)));
        let root = User::find("root", PASSWD, GROUP).unwrap();
        assert_eq!(root.access(&file(0, 1, 1, 0), Want::Read), Access::Granted);
    }

    #[test]
    fn others_read_only_what_they_can_reach() {
        assert!(is_readable_by_others(&file(0o644, 0, 0, 0o755)));
        assert!(!is_readable_by_others(&file(0o644, 0, 0, 0o700)));
        assert!(!is_readable_by_others(&file(0o640, 0, 0, 0o755)));
    }
}
