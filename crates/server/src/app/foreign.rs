//! Certificates that the operator's own CA signed, registered by the thousand (spec/owner-api §10, docs/reference/registration.md).
//!
//! ```text
//!   CSV ─► kept as it came (202, an id) ─► row by row in the background: checked here, then in one transaction per step
//!                                              │  a row that fails is written down, and spoils no other
//!                                              └─ a stop or a crash between two steps: goes on with the next row
//! ```
//!
//! What is registered is pinned: the broker takes exactly these certificates, whoever signed them, as the device that they
//! name. So the CN has to be the id of the row, and its topics have to be this team's: each team has its ids below its own
//! topics, and a device that is claimed is its team's alone (docs/decisions/0005-registered-without-a-claim.md).
//! Taking uploads and working them off is in `uploads`.

mod row;
mod uploads;

pub(crate) use row::Checked;
pub use row::RowRules;
pub use row::row as checked_row;
pub(crate) use uploads::rows_of;

use super::{App, Caller, OwnerError};
use sectag_proto::Timestamp;
use sectag_store::{REGISTERED_ID_CHARS_MAX, Registered, Subject};

/// Bytes of one upload: a thousand rows with a certificate of four kilobytes each.
pub const REGISTER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of a registered device's name.
const NAME_CHARS_MAX: usize = 256;

impl App {
    /// A registered device that the caller may see.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn registered(&self, caller: &Caller, id: &str) -> Result<Registered, OwnerError> {
        let subject = self.registered_subject(caller, id).await?;
        let found = self.store.registered(subject, &caller.team).await?;
        found.ok_or_else(|| not_registered(id))
    }

    /// Names a registered device.
    ///
    /// # Errors
    /// [`OwnerError::Invalid`], [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn name_registered(
        &self,
        caller: &Caller,
        id: &str,
        name: &str,
    ) -> Result<Registered, OwnerError> {
        if name.is_empty()
            || name.chars().count() > NAME_CHARS_MAX
            || name.chars().any(char::is_control)
        {
            return Err(OwnerError::Invalid {
                field: "name",
                reason: format!("1 to {NAME_CHARS_MAX} characters, no control characters"),
            });
        }
        let subject = self.registered_subject(caller, id).await?;
        let (team, by) = (&caller.team, &caller.name);
        let named = self
            .store
            .name_registered(subject, team, name, by, self.now())
            .await?;
        match named {
            true => self.registered(caller, id).await,
            false => Err(not_registered(id)),
        }
    }

    /// Forgets a registered device; its certificates are taken back for good, and its sessions end.
    ///
    /// # Errors
    /// [`OwnerError::NotFound`], [`OwnerError::Store`].
    pub async fn unregister(&self, caller: &Caller, id: &str) -> Result<(), OwnerError> {
        let subject = self.registered_subject(caller, id).await?;
        let (team, by) = (&caller.team, &caller.name);
        let gone = self.store.unregister(subject, team, by, self.now()).await?;
        self.doorkeeper.settled().await;
        match gone {
            true => {
                tracing::info!(device = %id, by, "registered device removed");
                Ok(())
            }
            false => Err(not_registered(id)),
        }
    }

    /// Of devices that a team has claimed, a key knows those that it sees. What is known by its registration alone has no
    /// tags, so a key that is limited to some sees none of it.
    async fn registered_subject(&self, caller: &Caller, id: &str) -> Result<Subject, OwnerError> {
        if id.chars().count() > REGISTERED_ID_CHARS_MAX {
            return Err(not_registered(id));
        }
        let subject = Subject::of(&canonical(id));
        let claimed = match subject.device() {
            Some(device) => self.store.device(device).await?,
            None => None,
        };
        match claimed.map_or(caller.scope.is_empty(), |device| caller.sees(&device)) {
            true => Ok(subject),
            false => Err(not_registered(id)),
        }
    }
}

/// A UUID in our spelling; anything else as it is.
fn canonical(id: &str) -> String {
    match id.parse::<sectag_proto::DeviceId>() {
        Ok(device) => device.to_string(),
        Err(_) => id.to_owned(),
    }
}

fn not_registered(id: &str) -> OwnerError {
    OwnerError::NotFound {
        what: "registered device",
        id: id.chars().filter(|c| !c.is_control()).take(64).collect(),
    }
}

/// For tests and fuzzing: what is asked of a row, at a time.
impl RowRules {
    /// Of the home's own team, with a key that has no tags.
    pub fn of_the_home(now: Timestamp) -> Self {
        Self {
            now,
            is_home: true,
            has_prefix: false,
            is_scoped: false,
        }
    }
}
