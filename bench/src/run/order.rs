//! The order of the trials.

use fastrand::Rng;

/// The position of a trial: its block, the index of its scenario, and its server.
pub type Position<'a, Server> = (u32, usize, &'a Server);

/// A block measures every server once under every load. The servers under one load follow each
/// other directly, in an order that the seed decides: a slow phase of the machine affects all of
/// them, and no server is always first.
pub fn order<Server>(
    blocks: u32,
    scenarios: usize,
    servers: &[Server],
    seed: u64,
) -> impl Iterator<Item = Position<'_, Server>> {
    let mut random = Rng::with_seed(seed);
    let groups = (0..blocks).flat_map(move |block| (0..scenarios).map(move |scenario| (block, scenario)));
    groups.flat_map(move |(block, scenario)| {
        let mut servers: Vec<&Server> = servers.iter().collect();
        random.shuffle(&mut servers);
        servers.into_iter().map(move |server| (block, scenario, server))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SERVERS: [&str; 5] = ["fork", "thread", "pool", "epoll", "tokio"];

    fn positions(seed: u64) -> Vec<Position<'static, &'static str>> {
        order(5, 4, &SERVERS, seed).collect()
    }

    #[test]
    fn every_server_is_measured_once_in_every_block_and_scenario() {
        let positions = positions(1);
        assert_eq!(positions.len(), 5 * 4 * SERVERS.len());
        assert_eq!(positions.iter().collect::<HashSet<_>>().len(), positions.len());
    }

    #[test]
    fn the_servers_under_one_load_follow_each_other() {
        for group in positions(1).chunks(SERVERS.len()) {
            let (block, scenario, _) = group[0];
            assert!(group.iter().all(|place| (place.0, place.1) == (block, scenario)));
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(positions(7), positions(7));
        assert_ne!(positions(7), positions(8));
    }

    #[test]
    fn no_server_is_always_first() {
        let all = positions(7);
        let firsts: HashSet<_> = all.chunks(SERVERS.len()).map(|group| group[0].2).collect();
        assert!(firsts.len() > 1, "{firsts:?}");
    }
}
