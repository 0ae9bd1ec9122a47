//! A home with many devices, made once and kept.

use sectag_pki::PrivateKey;
use sectag_proto::command::CommandRequest;
use sectag_proto::cose::Convention;
use sectag_proto::es256::{PublicKey, SignEs256, Signature};
use sectag_proto::jwt::{self, Claims};
use sectag_proto::rules::ErrorPolicy;
use sectag_proto::service::{Command, NewCommand, Queue, Status};
use sectag_proto::token::{Candidate, DeviceType};
use sectag_proto::{CommandId, DeviceId, FirmwareId, SecTag, Timestamp};
use sectag_server::{Home, system_clock};
use sectag_store::{
    ClaimOutcome, DeviceChange, DeviceQuery, NewClaim, SealKey, SqliteStore, Store, View,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Of each device.
pub(crate) const COMMANDS: usize = 10;
/// The last of them are open.
const OPEN: usize = 3;
/// So many tags share the devices: each has enough for a page in the small fleet, too.
const TAGS: usize = 10;
/// Claims in hand while a fleet is made: a batch of the writer.
const IN_HAND: usize = 512;
pub(crate) const PAGE: usize = 10;
pub(crate) const QUESTIONS: [&str; 3] = ["fetch next commands", "list devices", "list by tag"];
const FIRMWARE: FirmwareId = FirmwareId::from_bytes([7; 16]);

pub(crate) struct Fleet {
    pub(crate) home: PathBuf,
    /// In order.
    pub(crate) devices: Vec<DeviceId>,
    key: Key,
    team: String,
}

/// All devices share one key: what it costs to check it is no matter of the fleet's size.
struct Key(PrivateKey);

impl SignEs256 for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).unwrap())
    }

    fn public_key(&self) -> PublicKey {
        PublicKey::from_spki_der(&self.0.spki_der()).unwrap()
    }
}

impl Fleet {
    /// From `target/bench`, or made anew.
    pub(crate) async fn of(size: usize) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let home = target.join("bench").join(format!("fleet-{size}"));
        let whole = home.join("fleet.whole");
        let schema = env!("CARGO_PKG_VERSION");
        if std::fs::read_to_string(&whole).is_ok_and(|text| text == schema) {
            return Self::known(home, size);
        }
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(target.join("bench")).unwrap();
        drop(Home::open(&home, system_clock()()).unwrap());
        let key = PrivateKey::generate().unwrap();
        std::fs::write(home.join("fleet.key"), key.to_pem().as_bytes()).unwrap();
        let fleet = Self::known(home, size);
        eprintln!("making {size} devices in {}", fleet.home.display());
        fleet.fill().await;
        std::fs::write(whole, schema).unwrap();
        fleet
    }

    fn known(home: PathBuf, size: usize) -> Self {
        let key = std::fs::read_to_string(home.join("fleet.key")).unwrap();
        let opened = Home::open(&home, system_clock()()).unwrap();
        let team = opened.owner_id();
        let mut devices: Vec<DeviceId> = (0..size).map(device_id).collect();
        devices.sort_unstable();
        Self {
            home,
            devices,
            key: Key(PrivateKey::from_pem(&key).unwrap()),
            team,
        }
    }

    /// The store of the home, which no service may have open.
    pub(crate) fn open(&self) -> Arc<SqliteStore> {
        let home = Home::open(&self.home, system_clock()()).unwrap();
        let seal = SealKey::new(home.seal_key());
        Arc::new(SqliteStore::open(&home.database(), seal).unwrap())
    }

    /// In the order of the ids, so that pages are full.
    async fn fill(&self) {
        let store = self.open();
        let home = sectag_store::Team {
            id: self.team.clone(),
            name: "home".into(),
            topic_prefix: None,
            created_at: Timestamp(1_790_000_000_000),
        };
        sectag_store::Teams::adopt(&*store, home).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for (n, device) in self.devices.iter().enumerate() {
            if tasks.len() == IN_HAND {
                tasks.join_next().await.unwrap().unwrap();
            }
            let (store, claim) = (Arc::clone(&store), self.claim(n, *device));
            tasks.spawn(async move {
                let device = match store.claim(claim).await.unwrap() {
                    ClaimOutcome::Created(device) => device,
                    other => panic!("{other:?}"),
                };
                let change = queue(device.id, n);
                store
                    .commit(device.id, device.version, change)
                    .await
                    .unwrap();
            });
            if n % 50_000 == 49_999 {
                eprintln!("  {} devices", n + 1);
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    fn claim(&self, n: usize, device: DeviceId) -> NewClaim {
        let key = self.key.public_key();
        NewClaim {
            device,
            candidates: vec![Candidate {
                kid: key.kid(),
                key,
                convention: Convention::BodyIsAad,
            }],
            device_type: DeviceType::NRF9151_LACA,
            firmware: FIRMWARE,
            tags: vec![tag(n)],
            view: View::of(self.team.clone()),
            reserved: n.is_multiple_of(2),
            by: "bench".into(),
            accept_new_key: false,
            claimed_at: Timestamp(1_790_000_000_000),
        }
    }

    /// Some device, another one for each round, all over the fleet.
    pub(crate) fn device(&self, round: usize) -> DeviceId {
        self.devices
            [round.wrapping_mul(7919) * (self.devices.len() / 1000).max(1) % self.devices.len()]
    }

    pub(crate) async fn ask(&self, store: &Arc<SqliteStore>, what: &str, round: usize) {
        let device = self.device(round);
        if what == QUESTIONS[0] {
            let loaded = store.queue(device, &[]).await.unwrap().unwrap();
            assert_eq!(loaded.queue.commands().len(), OPEN);
            return;
        }
        // The last ones would be fewer than a page.
        let after = self.devices[..self.devices.len() - 200].binary_search(&device);
        let query = DeviceQuery {
            after: after.is_ok().then_some(device),
            tag: (what == QUESTIONS[2]).then(|| tag(round)),
            ..DeviceQuery::first(self.view(), PAGE)
        };
        assert_eq!(store.devices(query).await.unwrap().items.len(), PAGE);
    }

    pub(crate) fn view(&self) -> View {
        View::of(self.team.clone())
    }

    pub(crate) fn jwt(&self, round: usize) -> String {
        let claims = Claims {
            chip: "nRF9151",
            device: self.device(round),
            firmware: FIRMWARE,
            nonce: [1; 16],
            validity: Some((system_clock()(), Duration::from_secs(300))),
            subject: "",
            audience: "",
        };
        jwt::sign(&claims, &self.key)
    }
}

fn tag(n: usize) -> String {
    format!("site-{}", n % TAGS)
}

/// Spread as random ones are, and the same in every run.
fn device_id(n: usize) -> DeviceId {
    let mut id = [0; 16];
    id.copy_from_slice(&sectag_pki::sha256(&n.to_be_bytes())[..16]);
    DeviceId::from_bytes(id)
}

/// Commands of which the last ones are open.
fn queue(device: DeviceId, n: usize) -> DeviceChange {
    let at = Timestamp(1_790_000_000_000);
    let new = (0..COMMANDS).map(|c| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(n as u64).to_be_bytes());
        id[15] = u8::try_from(c).unwrap();
        NewCommand {
            id: CommandId::from_bytes(id),
            rule_id: None,
            on_error: ErrorPolicy::VendorDefault,
            description: None,
            request: CommandRequest::ClientPrivateKeyGeneration {
                sec_tag: SecTag::new(16_842_753).unwrap(),
            },
        }
    });
    let empty = Queue::new(device, Vec::new(), 1);
    let changes = empty
        .add(new.collect(), COMMANDS, at)
        .map_err(|(_, e)| e)
        .unwrap();
    let mut change = DeviceChange::from_owner(&changes);
    let done = |command: &mut Command| command.status = Status::Succeeded;
    change.commands[..COMMANDS - OPEN].iter_mut().for_each(done);
    change
}
