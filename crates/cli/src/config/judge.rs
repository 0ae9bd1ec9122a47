//! What the settings mean on this machine.

use sectag_gateway::Settings;
use sectag_gateway::facts::{Facts, Machine};
use sectag_gateway::findings::{self, Finding};
use sectag_gateway::verbs::Judge;
use std::time::{SystemTime, UNIX_EPOCH};

/// This machine, as far as it is known without asking the network or other programs: clock, own name, files. The `gateway`
/// verbs know more.
pub(crate) struct World;

impl Judge for World {
    fn findings(&self, settings: &Settings) -> Vec<Finding> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let name = rustix::system::uname();
        let machine = Machine {
            now_s: now.map_or(0, |now| now.as_secs()),
            host_names: name
                .nodename()
                .to_str()
                .map(str::to_owned)
                .into_iter()
                .collect(),
            ..Machine::default()
        };
        findings::find(settings, &Facts::gather(settings, &machine))
    }
}
