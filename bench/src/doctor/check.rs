//! A check: what is looked at and why, and what was found.

use record::{HostCheck, HostState, Remedy};

use super::needs::Needs;
use super::root::Root;

/// Something to look at on a host.
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Where it reads.
    pub read_from: &'static str,
    /// Why it matters, as a sentence without its full stop.
    pub why: &'static str,
    /// The models or measures that it affects.
    pub affects: &'static str,
    /// Whether it concerns a run with these needs, and the run does not measure it itself.
    pub in_a_run: fn(&Needs) -> bool,
    /// Looks at it.
    pub look: fn(&Root, &Needs) -> Finding,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    state: HostState,
    found: String,
    remedy: Option<Remedy>,
}

impl Check {
    /// Looks at a host.
    pub fn carry_out(&self, root: &Root, needs: &Needs) -> HostCheck {
        let Finding { state, found, remedy } = (self.look)(root, needs);
        HostCheck {
            name: self.name.into(),
            state,
            found,
            read_from: self.read_from.into(),
            why: self.why.into(),
            affects: self.affects.into(),
            remedy,
        }
    }
}

impl Finding {
    fn new(state: HostState, found: impl Into<String>) -> Self {
        Finding {
            state,
            found: found.into(),
            remedy: None,
        }
    }

    /// As it should be.
    pub fn good(found: impl Into<String>) -> Self {
        Finding::new(HostState::Good, found)
    }

    /// The host does not tell, for this reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Finding::new(HostState::Unknown, reason)
    }

    /// Worth knowing.
    pub fn note(found: impl Into<String>) -> Self {
        Finding::new(HostState::Note, found)
    }

    /// Numbers are not those of the servers alone.
    pub fn spoils(found: impl Into<String>) -> Self {
        Finding::new(HostState::Spoils, found)
    }

    /// A server or a load cannot run.
    pub fn stops(found: impl Into<String>) -> Self {
        Finding::new(HostState::Stops, found)
    }

    /// Mended by a command.
    pub fn mend(self, command: impl Into<String>) -> Self {
        Finding {
            remedy: Some(Remedy::Command(command.into())),
            ..self
        }
    }

    /// Mended elsewhere, as this sentence says.
    pub fn mend_elsewhere(self, how: impl Into<String>) -> Self {
        Finding {
            remedy: Some(Remedy::Elsewhere(how.into())),
            ..self
        }
    }

    /// Mended by a command that changes the whole kernel, which a container may not do.
    pub fn mend_kernel(self, root: &Root, command: &str) -> Self {
        match root.is_container() {
            true => self.mend_elsewhere(format!(
                "a container cannot change it: run `{command}` on its host"
            )),
            false => self.mend(command),
        }
    }

    /// Nothing here can mend it in a virtual machine, whose host has the setting.
    pub fn mend_beneath(self, root: &Root) -> Self {
        match root.is_virtual_machine() {
            true => self.mend_elsewhere(
                "a virtual machine cannot change it: look at the host beneath, or use a machine of your own",
            ),
            false => self,
        }
    }
}
