//! Where something happened: scenarios and servers, in the order of the trials.

use record::Trial;
use record::words::plain_line;

use super::diagnostic::Place;

/// Trials, counted, with their scenarios and servers.
#[derive(Debug, Default)]
pub struct Places {
    trials: usize,
    places: Vec<Place>,
    /// The latest trial, which counts once.
    latest: Option<(String, String, u32)>,
}

impl Places {
    /// Adds a trial; the same one can be added again right after.
    pub fn add(&mut self, trial: &Trial) {
        let this = (trial.scenario.clone(), trial.server.clone(), trial.block);
        if self.latest.as_ref() == Some(&this) {
            return;
        }
        self.latest = Some(this);
        self.trials += 1;
        let (scenario, server) = (plain_line(&trial.scenario), plain_line(&trial.server));
        match self.places.iter_mut().find(|place| place.scenario == scenario) {
            Some(place) if place.servers.contains(&server) => {}
            Some(place) => place.servers.push(server),
            None => self.places.push(Place {
                scenario,
                servers: vec![server],
            }),
        }
    }

    /// How many trials.
    pub fn trials(&self) -> usize {
        self.trials
    }

    /// Their scenarios, each with its servers.
    pub fn list(self) -> Vec<Place> {
        self.places
    }
}
