//! From what shall lie under the tags to the few changes that make it so: compare, change, check the digests.

use std::collections::BTreeSet;

use sectag_proto::secret::SecretText;
use sectag_proto::{CredentialType, SecTag};

use super::{Comparison, CredentialStore, StoreError};

/// One credential that shall be there.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Under which tag.
    pub tag: SecTag,
    /// What it is.
    pub kind: CredentialType,
    /// As it shall be written.
    pub content: SecretText,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Writes what is not there.
    Create,
    /// Overwrites what differs.
    Replace,
    /// Nothing: it is there.
    Keep,
    /// Removes what nobody asked for.
    Delete,
}

/// One line of a plan.
#[derive(Debug, Clone)]
pub struct Step {
    /// Under which tag.
    pub tag: SecTag,
    /// What it is about.
    pub kind: CredentialType,
    /// What happens.
    pub action: Action,
    /// What is to be written or kept; `None` when deleted.
    content: Option<SecretText>,
}

/// A plan that cannot be made, or was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A certificate without its key, or a key without its certificate, neither here nor under the tag.
    #[error("sec tag {tag} gets a {given} and has no {missing}: mutual TLS needs both")]
    HalfPair {
        /// The tag.
        tag: SecTag,
        /// What was given.
        given: CredentialType,
        /// What is neither given nor there.
        missing: CredentialType,
    },
    /// The same slot was asked for twice.
    #[error("sec tag {tag} is given a {kind} twice")]
    Twice {
        /// The tag.
        tag: SecTag,
        /// The type.
        kind: CredentialType,
    },
    /// A step failed; those before it are done.
    #[error("sec tag {tag}, {kind} (type {})", kind.0)]
    Step {
        /// The tag.
        tag: SecTag,
        /// The type.
        kind: CredentialType,
        /// Why.
        source: StoreError,
    },
    /// After the change the digest is another one.
    #[error("sec tag {tag}, {kind} (type {}): what lies there after writing is not what was written", kind.0)]
    Verify {
        /// The tag.
        tag: SecTag,
        /// The type.
        kind: CredentialType,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What will change, in the order in which it will: deletions, CA, key, certificate, the rest; tag by tag. A key stands
/// before its certificate, since a certificate alone looks ready and is not.
#[derive(Debug, Clone)]
pub struct Plan {
    steps: Vec<Step>,
}

impl Plan {
    /// Compares what is wanted with what is there; nothing is written. Tags in `only` lose whatever else they hold.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn make(
        store: &mut dyn CredentialStore,
        wanted: Vec<Wanted>,
        only: &[SecTag],
    ) -> Result<Self, PlanError> {
        let tags: BTreeSet<SecTag> = wanted
            .iter()
            .map(|one| one.tag)
            .chain(only.iter().copied())
            .collect();
        let mut wanted = wanted;
        wanted.sort_by_key(|one| (one.tag, rank(one.kind)));
        for pair in wanted.windows(2) {
            if (pair[0].tag, pair[0].kind) == (pair[1].tag, pair[1].kind) {
                return Err(PlanError::Twice {
                    tag: pair[0].tag,
                    kind: pair[0].kind,
                });
            }
        }
        let mut steps = Vec::new();
        let mut wanted = wanted.into_iter().peekable();
        for tag in tags {
            let there = store.list(Some(tag), None)?;
            let mut of_tag = Vec::new();
            while let Some(one) = wanted.next_if(|one| one.tag == tag) {
                of_tag.push(one);
            }
            let mut left: BTreeSet<CredentialType> = there.iter().map(|entry| entry.kind).collect();
            if only.contains(&tag) {
                for kind in left.clone() {
                    if !of_tag.iter().any(|one| one.kind == kind) {
                        left.remove(&kind);
                        steps.push(Step {
                            tag,
                            kind,
                            action: Action::Delete,
                            content: None,
                        });
                    }
                }
            }
            check_pair(tag, &of_tag, &left)?;
            for one in of_tag {
                let action = if !left.contains(&one.kind) {
                    Action::Create
                } else if is_there(store, &one)? {
                    Action::Keep
                } else {
                    Action::Replace
                };
                steps.push(Step {
                    tag,
                    kind: one.kind,
                    action,
                    content: Some(one.content),
                });
            }
        }
        Ok(Self { steps })
    }

    /// All steps, those that keep something included.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many steps change something.
    pub fn changes(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.action != Action::Keep)
            .count()
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// [`PlanError::Step`] for the first that fails; those before it are done, and a new plan begins behind them.
    pub fn carry_out(&self, store: &mut dyn CredentialStore) -> Result<(), PlanError> {
        for step in &self.steps {
            let done = match (step.action, &step.content) {
                (Action::Keep, _) => Ok(()),
                (_, Some(content)) => store.write(step.tag, step.kind, content),
                (_, None) => store.delete(step.tag, step.kind),
            };
            done.map_err(|source| PlanError::Step {
                tag: step.tag,
                kind: step.kind,
                source,
            })?;
        }
        Ok(())
    }

    /// Looks again: each credential must have the digest of what was wanted, and what was deleted must be gone.
    ///
    /// # Errors
    /// [`PlanError::Verify`] for the first that has not.
    pub fn verify(&self, store: &mut dyn CredentialStore) -> Result<(), PlanError> {
        for step in &self.steps {
            let right = match &step.content {
                Some(content) => match store.cmp_digest(step.tag, step.kind, content) {
                    Ok(comparison) => comparison == Comparison::Match,
                    Err(StoreError::NotFound) => false,
                    Err(error) => return Err(error.into()),
                },
                None => !store.exists(step.tag, step.kind)?,
            };
            if !right {
                return Err(PlanError::Verify {
                    tag: step.tag,
                    kind: step.kind,
                });
            }
        }
        Ok(())
    }
}

fn is_there(store: &mut dyn CredentialStore, one: &Wanted) -> Result<bool, StoreError> {
    let same = match store.cmp(one.tag, one.kind, &one.content) {
        Err(StoreError::NoAccess | StoreError::TooLong) => {
            store.cmp_digest(one.tag, one.kind, &one.content)
        }
        other => other,
    };
    match same {
        Ok(comparison) => Ok(comparison == Comparison::Match),
        // Listed without a digest: it cannot be known to be the same.
        Err(StoreError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A key may have been made in the modem, so what is under the tag counts as well.
fn check_pair(
    tag: SecTag,
    wanted: &[Wanted],
    there: &BTreeSet<CredentialType>,
) -> Result<(), PlanError> {
    let (cert, key) = (
        CredentialType::CLIENT_CERTIFICATE,
        CredentialType::CLIENT_PRIVATE_KEY,
    );
    let given = |kind| wanted.iter().any(|one| one.kind == kind);
    for (given_kind, missing) in [(cert, key), (key, cert)] {
        if given(given_kind) && !given(missing) && !there.contains(&missing) {
            return Err(PlanError::HalfPair {
                tag,
                given: given_kind,
                missing,
            });
        }
    }
    Ok(())
}

const fn rank(kind: CredentialType) -> (u8, u8) {
    let first = match kind {
        CredentialType::ROOT_CA => 0,
        CredentialType::CLIENT_PRIVATE_KEY => 1,
        CredentialType::CLIENT_CERTIFICATE => 2,
        _ => 3,
    };
    (first, kind.0)
}
