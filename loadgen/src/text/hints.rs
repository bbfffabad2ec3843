//! What to try next, from the result of a load.

use std::net::SocketAddr;

use record::units::show_rate;
use record::{ErrorKind, Load, LoopKind, PaceSetter, Span, fell_behind, processors};

/// A reader takes in no more.
const MOST: usize = 2;

/// The share of a server's highest rate at which its queue does not grow.
const EASY: f64 = 0.7;

/// A wake-up takes up to some fifty microseconds, a tenth of this.
const WAKE_UP_MATTERS_US: f64 = 500.0;

/// The hints, each with its option first.
pub(super) fn hints(load: &Load) -> Vec<String> {
    let mut hints = obstacles(load);
    hints.extend(match () {
        () if PaceSetter::of(load) == PaceSetter::Generator => vec![more_threads(load)],
        () if fell_behind(load) => slower(load).into_iter().collect(),
        () if !load.summary.is_valid() => Vec::new(),
        () => match load.plan.loop_kind() {
            LoopKind::Closed => at_a_rate(load).into_iter().collect(),
            LoopKind::Open => further(load),
            LoopKind::PartlyOpen => faster(load).into_iter().collect(),
        },
    });
    hints.truncate(MOST);
    hints
}

/// What to change about a load that was not the one asked for.
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
        hints.push(format!(
            "`-c {answered}`: only as many connections as the server answered"
        ));
    }
    if never_answered(load) && !load.plan.lines && !load.plan.udp {
        hints.push("`--lines`: some servers answer only when a line feed ends what they read".into());
    }
    if happened(ErrorKind::Lost) && !load.summary.is_valid() {
        hints.push("a smaller `-c` or `--rate`, to lose fewer datagrams".into());
    }
    hints
}

/// Whether the server took connections, and gave no answer and no error on any.
fn never_answered(load: &Load) -> bool {
    let summary = &load.summary;
    summary.echoes == 0 && summary.connections.open > 0 && summary.errors.is_empty()
}

fn more_threads(load: &Load) -> String {
    let threads = load.plan.threads() + 1;
    if let Some(quota) = load.generator.throttling.map(|throttling| throttling.quota)
        && quota < threads as f64
    {
        let allowed = processors(quota);
        return format!("a higher processor quota, which allows {allowed}: more threads would share them");
    }
    format!("`--threads {threads}`, or `--cpus`, to see whether the server is faster than one generator")
}

/// For a schedule with which the server did not keep up.
fn slower(load: &Load) -> Option<String> {
    let summary = &load.summary;
    let (option, reached) = match load.plan.loop_kind() {
        LoopKind::Closed => return None,
        LoopKind::Open => ("--rate", summary.echoes_per_s),
        LoopKind::PartlyOpen => ("--connect-rate", summary.connections_per_s?),
    };
    let rate = typed_rate(reached * EASY)?;
    Some(format!("`{option} {rate}`: 70% of the rate that came back"))
}

/// For a closed loop, which does not measure latency at a rate.
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

/// For an open loop with which the server kept up.
fn further(load: &Load) -> Vec<String> {
    let mut hints = vec![format!(
        "`loadgen capacity {}`: the highest rate the server sustains",
        load.target
    )];
    let median = load.summary.latencies[Span::Response]
        .as_ref()
        .and_then(|times| times.p50);
    if !load.generator.spins() && median.is_some_and(|micros| micros < WAKE_UP_MATTERS_US) {
        hints.push("`--spin`: the generator's wake-up is a large part of times this short".into());
    }
    hints
}

/// For connections that arrive by a schedule with which the server kept up.
fn faster(load: &Load) -> Option<String> {
    let rate = typed_rate(load.summary.connections_per_s? * 2.0)?;
    Some(format!("`--connect-rate {rate}`: twice as many connections"))
}

/// A rate as `--rate` reads it; `None` if it is close to 0.
fn typed_rate(per_second: f64) -> Option<String> {
    (per_second >= 1.0).then(|| show_rate(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::sample::{busy, busy_open};
    use record::{Finding, Plan, Throttling, units};

    /// The value behind an option in a hint.
    fn value<'a>(hints: &'a [String], option: &str) -> &'a str {
        let all = hints.iter().flat_map(|hint| hint.split(['`', ' ']));
        all.skip_while(|word| *word != option)
            .nth(1)
            .unwrap_or_else(|| panic!("{option} is missing: {hints:?}"))
    }

    fn connections_come(load: &mut Load) {
        (load.plan.rate, load.plan.connect_rate) = (None, units::Rate::new(500.0));
        load.summary.connections_per_s = Some(500.0);
    }

    #[test]
    fn after_a_closed_loop_a_rate_below_its_own() {
        let hints = hints(&busy(&Plan::default()));
        assert_eq!(units::rate(value(&hints, "--rate")), Ok(70_000.0), "{hints:?}");
    }

    #[test]
    fn after_churn_connections_at_a_rate() {
        let mut load = busy(&Plan::default());
        load.plan.messages_per_connection = Some(3);
        load.summary.connections_per_s = Some(1000.0);
        let hints = hints(&load);
        assert_eq!(units::rate(value(&hints, "--connect-rate")), Ok(700.0));
        assert_eq!(value(&hints, "--messages-per-connection"), "3");
    }

    #[test]
    fn a_saturated_generator_needs_threads_in_any_loop() {
        for mut load in [busy(&Plan::default()), busy_open(1000.0)] {
            load.generator.utilisation = 0.97;
            let hints = hints(&load);
            assert_eq!(hints.len(), 1, "{hints:?}");
            assert_eq!(value(&hints, "--threads"), "2");
        }
    }

    #[test]
    fn a_saturated_generator_within_a_quota_needs_a_higher_one() {
        let mut load = busy(&Plan::default());
        load.generator.utilisation = 0.97;
        let mut under = |quota| {
            load.generator.throttling = Some(Throttling {
                quota,
                ..Throttling::default()
            });
            hints(&load)
        };
        assert_eq!(value(&under(2.0), "--threads"), "2");
        let hints = under(1.5);
        assert!(
            hints[0].contains("quota, which allows 1.5 processors"),
            "{hints:?}"
        );
        assert!(!hints[0].contains("--cpus"), "{hints:?}");
    }

    #[test]
    fn an_open_loop_that_was_kept_up_with_may_go_further() {
        let mut load = busy_open(100e3);
        let first = hints(&load);
        assert!(first[0].contains("loadgen capacity 127.0.0.1:7007"), "{first:?}");
        assert!(first[1].contains("--spin"), "{first:?}");
        load.generator.wait = record::Wait::Spin;
        assert_eq!(hints(&load).len(), 1);
    }

    #[test]
    fn an_open_loop_that_was_not_kept_up_with_goes_slower() {
        let mut load = busy_open(300e3);
        load.summary.findings = [Finding::NoEchoes].into();
        assert_eq!(units::rate(value(&hints(&load), "--rate")), Ok(70_000.0));
    }

    #[test]
    fn connections_come_faster_or_slower() {
        let mut load = busy_open(100e3);
        connections_come(&mut load);
        let faster = hints(&load);
        assert_eq!(units::rate(value(&faster, "--connect-rate")), Ok(1000.0));
        load.summary.unanswered = 1;
        let slower = hints(&load);
        assert_eq!(units::rate(value(&slower, "--connect-rate")), Ok(350.0));
    }

    #[test]
    fn a_server_that_never_answers_may_wait_for_a_line() {
        let mut load = busy(&Plan::default());
        load.summary.findings = [Finding::NoEchoes].into();
        (load.summary.echoes, load.summary.connections.answered) = (0, 0);
        let suggests = |load: &Load| hints(load).iter().any(|hint| hint.starts_with("`--lines`"));
        assert!(suggests(&load));
        let unlike: [fn(&mut Load); 5] = [
            |load| load.plan.lines = true,
            |load| load.plan.udp = true,
            |load| load.summary.echoes = 1,
            |load| load.summary.connections.open = 0,
            |load| load.summary.errors = [(ErrorKind::Reset, 1)].into(),
        ];
        for change in unlike {
            let mut load = load.clone();
            change(&mut load);
            assert!(!suggests(&load), "{load:?}");
        }
    }

    #[test]
    fn what_kept_a_load_back_comes_first() {
        let mut load = busy(&Plan::default());
        load.summary.findings = [Finding::NoEchoes].into();
        assert!(hints(&load).is_empty(), "a load that is not valid shows nothing");
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
