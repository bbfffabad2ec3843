//! What to try next, from what was seen.

use std::net::SocketAddr;

use super::fell_behind;
use record::units::show_rate;
use record::{ErrorKind, Load, LoopKind};

/// More is not read.
const MOST: usize = 2;

/// Of the rate that a server reached, what it serves with a queue that does not grow.
const EASY: f64 = 0.7;

/// A wake-up takes up to some fifty microseconds: below this it is a tenth of a latency.
const WAKE_UP_MATTERS_US: f64 = 500.0;

/// Each with the option first.
pub(super) fn hints(load: &Load) -> Vec<String> {
    let mut hints = obstacles(load);
    hints.extend(match () {
        () if load.generator.is_saturated() => vec![more_threads(load)],
        () if fell_behind(load) => slower(load).into_iter().collect(),
        () if !load.summary.valid => Vec::new(),
        () => match load.plan.loop_kind() {
            LoopKind::Closed => at_a_rate(load).into_iter().collect(),
            LoopKind::Open => further(load),
            LoopKind::PartlyOpen => faster(load).into_iter().collect(),
        },
    });
    hints.truncate(MOST);
    hints
}

/// What kept the load from being the one that was asked for.
fn obstacles(load: &Load) -> Vec<String> {
    let happened = |kind| load.summary.errors.get(&kind).is_some_and(|&count| count > 0);
    let answered = load.summary.connections.answered;
    let mut hints = Vec::new();
    if happened(ErrorKind::NoLocalPort) {
        let target = load.target.parse::<SocketAddr>();
        let source = match target.is_ok_and(|target| target.is_ipv4() && target.ip().is_loopback()) {
            true => "`--source 127.0.0.2-127.0.0.9`",
            false => "`--source` with more addresses of this host",
        };
        hints.push(format!("{source}: each address has ports of its own"));
    }
    if happened(ErrorKind::TooManyOpenFiles) {
        let fewer = match load.plan.loop_kind() {
            LoopKind::PartlyOpen => "a lower `--connect-rate`",
            _ => "a smaller `-c`",
        };
        hints.push(format!("{fewer}, or a higher limit of open files (`ulimit -n`)"));
    }
    if load.starved() > 0 && answered > 0 {
        hints.push(format!("`-c {answered}`: as many connections as were answered"));
    }
    if happened(ErrorKind::Lost) && !load.summary.valid {
        hints.push("a smaller `-c` or `--rate`, which loses fewer datagrams".into());
    }
    hints
}

fn more_threads(load: &Load) -> String {
    let threads = load.plan.threads() + 1;
    format!("`--threads {threads}`, or `--cpus`, to see whether the server is faster than one generator")
}

/// For a load that was not kept up with.
fn slower(load: &Load) -> Option<String> {
    let summary = &load.summary;
    let (option, reached) = match load.plan.loop_kind() {
        LoopKind::Closed => return None,
        LoopKind::Open => ("--rate", summary.echoes_per_s),
        LoopKind::PartlyOpen => ("--connect-rate", summary.connections_per_s?),
    };
    let rate = typed_rate(reached * EASY)?;
    Some(format!("`{option} {rate}`: 70% of what came back"))
}

/// For a closed loop: what it cannot tell.
fn at_a_rate(load: &Load) -> Option<String> {
    let summary = &load.summary;
    Some(match load.plan.messages_per_connection() {
        None => {
            let rate = typed_rate(summary.echoes_per_s * EASY)?;
            format!("`--rate {rate}`: the latency at 70% of this rate, as independent users see it")
        }
        Some(messages) => {
            let rate = typed_rate(summary.connections_per_s? * EASY)?;
            format!("`--connect-rate {rate} --messages-per-connection {messages}`: 70% of this rate")
        }
    })
}

/// For an open loop in which all is well.
fn further(load: &Load) -> Vec<String> {
    let mut hints = vec![format!(
        "`loadgen capacity {}`: the highest rate that it keeps up with",
        load.target
    )];
    let median = load.summary.response_us.as_ref().and_then(|times| times.p50);
    if load.generator.wait != record::Wait::Spin && median.is_some_and(|micros| micros < WAKE_UP_MATTERS_US) {
        hints.push("`--spin`: times this short are in good part the generator's wake-up".into());
    }
    hints
}

/// For connections that come by themselves and are all served.
fn faster(load: &Load) -> Option<String> {
    let rate = typed_rate(load.summary.connections_per_s? * 2.0)?;
    Some(format!("`--connect-rate {rate}`: twice as many connections"))
}

/// A rate as `--rate` reads it; none where it is next to nothing.
fn typed_rate(per_second: f64) -> Option<String> {
    (per_second >= 1.0).then(|| show_rate(per_second))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{load, open};
    use super::*;
    use crate::plan::Loop;
    use record::units;

    /// What stands behind an option in a hint.
    fn value<'a>(hints: &'a [String], option: &str) -> &'a str {
        let all = hints.iter().flat_map(|hint| hint.split(['`', ' ']));
        all.skip_while(|word| *word != option)
            .nth(1)
            .unwrap_or_else(|| panic!("{option} is missing: {hints:?}"))
    }

    fn connections_come(load: &mut Load) {
        (load.plan.rate, load.plan.connect_rate) = (None, load.plan.rate.or(units::Rate::new(1.0)));
        load.summary.connections_per_s = Some(500.0);
    }

    #[test]
    fn after_a_closed_loop_a_rate_below_what_it_reached() {
        let hints = hints(&load(Loop::closed()));
        assert_eq!(units::rate(value(&hints, "--rate")), Ok(70_000.0), "{hints:?}");
    }

    #[test]
    fn after_churn_connections_at_a_rate() {
        let mut load = load(Loop::closed());
        load.plan.messages_per_connection = Some(3);
        load.summary.connections_per_s = Some(1000.0);
        let hints = hints(&load);
        assert_eq!(units::rate(value(&hints, "--connect-rate")), Ok(700.0));
        assert_eq!(value(&hints, "--messages-per-connection"), "3");
    }

    #[test]
    fn a_saturated_generator_needs_threads_in_any_loop() {
        for mut load in [load(Loop::closed()), open(1000.0)] {
            load.generator.utilisation = 0.97;
            let hints = hints(&load);
            assert_eq!(hints.len(), 1, "{hints:?}");
            assert_eq!(value(&hints, "--threads"), "2");
        }
    }

    #[test]
    fn an_open_loop_that_was_kept_up_with_may_go_further() {
        let mut load = open(100e3);
        let first = hints(&load);
        assert!(first[0].contains("loadgen capacity 127.0.0.1:7007"), "{first:?}");
        assert!(first[1].contains("--spin"), "{first:?}");
        load.generator.wait = record::Wait::Spin;
        assert_eq!(hints(&load).len(), 1);
    }

    #[test]
    fn an_open_loop_that_was_not_kept_up_with_goes_slower() {
        let mut load = open(300e3);
        load.summary.valid = false;
        assert_eq!(units::rate(value(&hints(&load), "--rate")), Ok(70_000.0));
    }

    #[test]
    fn connections_come_faster_or_slower() {
        let mut load = open(100e3);
        connections_come(&mut load);
        let faster = hints(&load);
        assert_eq!(units::rate(value(&faster, "--connect-rate")), Ok(1000.0));
        load.summary.unanswered = 1;
        let slower = hints(&load);
        assert_eq!(units::rate(value(&slower, "--connect-rate")), Ok(350.0));
    }

    #[test]
    fn what_kept_a_load_back_comes_first() {
        let mut load = load(Loop::closed());
        load.summary.valid = false;
        assert!(hints(&load).is_empty(), "nothing is known of what was not valid");
        load.summary.connections.answered = 40;
        assert_eq!(value(&hints(&load), "-c"), "40");
        load.summary.errors.insert(ErrorKind::NoLocalPort, 1);
        load.summary.errors.insert(ErrorKind::TooManyOpenFiles, 1);
        let most = hints(&load);
        assert_eq!(most.len(), MOST);
        assert_eq!(value(&most, "--source"), "127.0.0.2-127.0.0.9");
        load.target = "192.0.2.7:7007".into();
        assert!(hints(&load)[0].contains("this host"));
    }
}
