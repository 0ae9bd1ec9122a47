//! What the settings mean on this machine.

use sectag_gateway::Settings;
use sectag_gateway::facts::Facts;
use sectag_gateway::findings::{self, Finding};
use sectag_gateway::verbs::Judge;
use sectag_host::machine;

/// This machine: clock, own names, interfaces, users, files. The `gateway` verbs know the broker as well.
pub(crate) struct World {
    /// Resolve host names of the settings, which takes as long as the resolver does. Whoever sets a key does not wait for it.
    pub(crate) resolve: bool,
}

impl Judge for World {
    fn findings(&self, settings: &Settings) -> Vec<Finding> {
        let machine = if self.resolve {
            machine::machine(settings)
        } else {
            machine::unresolved()
        };
        findings::find(settings, &Facts::gather(settings, &machine))
    }
}
