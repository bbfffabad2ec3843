//! The order of the trials.

use fastrand::Rng;

/// The servers of a block under one load, in the order in which they start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group<'a, Server> {
    /// The block, from 0.
    pub block: u32,
    /// The index of the scenario.
    pub scenario: usize,
    /// The servers.
    pub servers: Vec<&'a Server>,
    /// A seed of its own.
    pub seed: u64,
}

/// A block measures every server once under every load. The servers under one load are measured
/// together or follow each other directly, in an order that the seed decides: a slow phase of the
/// machine affects all of them, and no server is always first.
pub fn order<Server>(
    blocks: u32,
    scenarios: usize,
    servers: &[Server],
    seed: u64,
) -> impl Iterator<Item = Group<'_, Server>> {
    let mut random = Rng::with_seed(seed);
    let places = (0..blocks).flat_map(move |block| (0..scenarios).map(move |scenario| (block, scenario)));
    places.map(move |(block, scenario)| {
        let mut servers: Vec<&Server> = servers.iter().collect();
        random.shuffle(&mut servers);
        Group {
            block,
            scenario,
            servers,
            seed: random.u64(..),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SERVERS: [&str; 5] = ["fork", "thread", "pool", "epoll", "tokio"];

    fn groups(seed: u64) -> Vec<Group<'static, &'static str>> {
        order(5, 4, &SERVERS, seed).collect()
    }

    #[test]
    fn every_server_is_measured_once_in_every_block_and_scenario() {
        let groups = groups(1);
        let places: HashSet<_> = groups.iter().map(|group| (group.block, group.scenario)).collect();
        assert_eq!((groups.len(), places.len()), (5 * 4, 5 * 4));
        for group in groups {
            let servers: HashSet<_> = group.servers.into_iter().collect();
            assert_eq!(servers.len(), SERVERS.len());
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(groups(7), groups(7));
        assert_ne!(groups(7), groups(8));
    }

    #[test]
    fn no_server_is_always_first_and_no_group_is_like_another() {
        let groups = groups(7);
        let firsts: HashSet<_> = groups.iter().map(|group| group.servers[0]).collect();
        assert!(firsts.len() > 1, "{firsts:?}");
        let seeds: HashSet<_> = groups.iter().map(|group| group.seed).collect();
        assert_eq!(seeds.len(), groups.len());
    }
}
