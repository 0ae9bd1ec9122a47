//! Uploads on their way into memory: a place each, a share for each team, and an end for whoever is too slow.
//!
//! A team waits for its own share first, and only then with the others for a place, so one team's slow uploads are not in the
//! way of another's.

use super::Refused;
use super::request::read;
use crate::app::OwnerError;
use axum::body::{Body, Bytes};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Uploads in memory at a time: 64 MiB when each is as large as can be.
const PLACES: usize = 16;
/// Of them, those of one team: what comes while two are read waits.
const PLACES_OF_TEAM: usize = 2;
/// What an upload has to arrive in: 4 MiB at 0.6 Mbit/s.
const READ_MAX: Duration = Duration::from_secs(60);

/// Who reads an upload at this moment.
pub(super) struct Reading {
    /// From the first byte that is read to the last one.
    read_max: Duration,
    places: Semaphore,
    teams: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// A place, until it is dropped.
pub(super) struct Place<'a> {
    reading: &'a Reading,
    team: String,
    share: Option<OwnedSemaphorePermit>,
    place: Option<SemaphorePermit<'a>>,
}

impl Reading {
    pub(super) const fn new() -> Self {
        Self {
            read_max: READ_MAX,
            places: Semaphore::const_new(PLACES),
            teams: Mutex::new(BTreeMap::new()),
        }
    }

    /// The bytes of an upload, and the place that they take while something is made of them.
    ///
    /// # Errors
    /// [`OwnerError::TooLarge`], [`OwnerError::Malformed`] when it ends early or does not come in time.
    pub(super) async fn read(
        &self,
        team: &str,
        body: Body,
        max: usize,
    ) -> Result<(Bytes, Place<'_>), Refused> {
        let place = self.place(team).await;
        let bytes = tokio::time::timeout(self.read_max, read(body, max)).await;
        let bytes = bytes.map_err(|_| {
            let reason = format!(
                "the upload did not arrive within {} seconds; send fewer rows at a time",
                self.read_max.as_secs()
            );
            Refused(OwnerError::Malformed(reason))
        })?;
        Ok((bytes?, place))
    }

    async fn place(&self, team: &str) -> Place<'_> {
        let share = {
            let mut teams = self.teams.lock().unwrap_or_else(PoisonError::into_inner);
            let known = teams
                .entry(team.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(PLACES_OF_TEAM)));
            known.clone()
        };
        // Whoever stops waiting gives the share back as well.
        let mut place = Place {
            reading: self,
            team: team.to_owned(),
            share: None,
            place: None,
        };
        // Neither is ever closed, so these only wait.
        place.share = share.acquire_owned().await.ok();
        place.place = self.places.acquire().await.ok();
        place
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        drop((self.share.take(), self.place.take()));
        let mut teams = self
            .reading
            .teams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Whoever waits for a share holds it, too.
        let is_idle = |share: &Arc<Semaphore>| Arc::strong_count(share) == 1;
        if teams.get(&self.team).is_some_and(is_idle) {
            teams.remove(&self.team);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::owner_api::audit::Pages;
    use crate::owner_api::status_of;
    use sectag_store::StoreError;
    use tokio::sync::mpsc;
    use tokio::task::JoinSet;

    /// A body that never comes, as long as its other end is kept.
    fn silent() -> (mpsc::Sender<Result<Bytes, StoreError>>, Body) {
        let (other_end, body) = mpsc::channel(1);
        (other_end, Body::new(Pages(body)))
    }

    fn is_idle(reading: &Reading) -> bool {
        reading.teams.lock().unwrap().is_empty() && reading.places.available_permits() == PLACES
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_and_gives_the_place_back() {
        let reading = Reading {
            read_max: Duration::from_millis(1),
            ..Reading::new()
        };
        let (_other_end, body) = silent();
        let Err(Refused(told)) = reading.read("a", body, 1000).await else {
            panic!("it never ends")
        };
        assert!(told.to_string().contains("did not arrive"), "{told}");
        assert_eq!(status_of(&told).0, 400);
        assert!(is_idle(&reading));
    }

    #[tokio::test]
    async fn the_slow_uploads_of_one_team_hold_up_no_other() {
        let reading = Arc::new(Reading::new());
        let (mut slow, mut ends) = (JoinSet::new(), Vec::new());
        for _ in 0..2 * PLACES {
            let (end, body) = silent();
            let reading = reading.clone();
            slow.spawn(async move { reading.read("a", body, 1000).await.map(drop).is_ok() });
            ends.push(end);
        }
        while reading.places.available_permits() > PLACES - PLACES_OF_TEAM {
            tokio::task::yield_now().await;
        }
        let read = reading.read("b", Body::from("rows"), 1000).await;
        assert_eq!(read.map(|(bytes, _)| bytes).ok().unwrap(), "rows");
        let taken = reading.places.available_permits();
        assert_eq!(taken, PLACES - PLACES_OF_TEAM);
        // Those who wait no more are in nobody's way either.
        slow.shutdown().await;
        assert!(is_idle(&reading));
    }
}
