//! A capacity as a person reads it: the curve, then the answer.

use crate::text::layout::{table, wrap};
use record::histogram::Statistic;
use record::units::show_rate;
use record::words::show_known_micros;
use record::{Capacity, CapacityTrial, Limit};

/// The trials by their rate, and the capacity.
pub fn describe(capacity: &Capacity) -> String {
    let mut trials: Vec<&CapacityTrial> = capacity.trials.iter().collect();
    trials.sort_by(|one, other| one.rate_per_s.total_cmp(&other.rate_per_s));
    let mut lines = vec![
        format!("{}: which rate meets {}", capacity.target, objectives(capacity)),
        String::new(),
    ];
    let header = ["offered", "achieved", "p50", "p99", "p99.9"];
    let rows = trials.into_iter().map(cells);
    lines.extend(table(header, rows).into_iter().map(|line| format!("  {line}")));
    lines.extend([
        String::new(),
        wrap(&format!("capacity: {}", answer(capacity)), "", "  "),
    ]);
    lines.extend(limit(capacity).map(|text| wrap(&text, "  ", "  ")));
    lines.join("\n") + "\n"
}

/// The result of a trial in a line: `22.6k/s held`.
pub fn outcome(trial: &CapacityTrial) -> String {
    format!("{} {}", show_rate(trial.rate_per_s), held(trial))
}

fn objectives(capacity: &Capacity) -> String {
    capacity.objectives.join(" and ")
}

fn cells(trial: &CapacityTrial) -> Vec<String> {
    let summary = &trial.summary;
    let time = |statistic| {
        let micros = { summary.latencies.main() }.and_then(|times| times.known(statistic));
        micros.map_or("-".into(), show_known_micros)
    };
    vec![
        show_rate(trial.rate_per_s),
        show_rate(summary.echoes_per_s),
        time(Statistic::P50),
        time(Statistic::P99),
        time(Statistic::P999),
        held(trial),
    ]
}

fn held(trial: &CapacityTrial) -> String {
    match (&trial.reason, trial.limit) {
        (None, _) => "held".into(),
        (Some(reason), Some(Limit::Generator)) => format!("no result: {reason}"),
        (Some(reason), _) => format!("did not hold: {reason}"),
    }
}

fn answer(capacity: &Capacity) -> String {
    let objectives = objectives(capacity);
    let (low, high) = match (capacity.low_per_s, capacity.high_per_s) {
        (Some(low), high) => (show_rate(low), high.map(show_rate)),
        (None, Some(high)) if capacity.complete => {
            return format!("not found: {objectives} did not hold even at {}", show_rate(high));
        }
        (None, _) => return format!("not found: {objectives} have not held at any rate yet"),
    };
    let verified = match (capacity.verified, capacity.of) {
        (_, 0) => format!("{objectives} held at {low}; not verified"),
        (verified, of) => format!("{objectives} held in {verified} of {of} runs at {low}"),
    };
    match (capacity.limit, high) {
        (Limit::Server, Some(high)) => format!("between {low} and {high} ({verified})"),
        (Limit::Generator, Some(high)) => {
            format!("at least {low}: the generator was the limit from {high} on ({verified})")
        }
        _ => format!("at least {low}: no higher rate was tried ({verified})"),
    }
}

/// Which side was the limit, from the last trial at the rate that did not hold.
fn limit(capacity: &Capacity) -> Option<String> {
    let high = capacity.high_per_s?;
    let is_limited = |trial: &&CapacityTrial| trial.rate_per_s == high && trial.limit == Some(capacity.limit);
    let trial = capacity.trials.iter().rfind(is_limited)?;
    Some(match capacity.limit {
        Limit::Generator => format!(
            "{}; the server may hold more: try more --threads, and --cpus that the server does not need",
            trial.reason.as_deref().unwrap_or_default()
        ),
        _ if trial.generator.spins() => "the server, or the path to it, was the limit".into(),
        _ => format!(
            "the server, or the path to it, was the limit: at {} the generator used {:.0}% of its threads' time",
            show_rate(high),
            trial.generator.utilisation * 100.0
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::tests::{response, saturated_above, survey, terms};
    use crate::capacity::{Survey, Terms};
    use record::Span;
    use record::histogram::LowerBounds;

    /// The line of the answer, up to its end.
    fn answer_of(text: &str) -> String {
        let lines = text.lines().skip_while(|line| !line.starts_with("capacity: "));
        let words: Vec<_> = lines.flat_map(str::split_whitespace).collect();
        words.join(" ")
    }

    #[test]
    fn the_curve_goes_up_and_the_answer_stands_below_it() {
        let capacity = survey(terms(&["p99<20ms", "errors<=9"]), |_| None).capacity();
        let text = describe(&capacity);
        let offered: Vec<f64> = text
            .lines()
            .filter_map(|line| record::units::rate(line.split_whitespace().next()?).ok())
            .collect();
        assert_eq!(offered.len(), capacity.trials.len(), "{text}");
        assert!(offered.is_sorted(), "{text}");
        let (low, high) = (capacity.low_per_s.unwrap(), capacity.high_per_s.unwrap());
        let (low, high) = (show_rate(low), show_rate(high));
        let answer = answer_of(&text);
        assert!(answer.starts_with(&format!(
            "capacity: between {low} and {high} (p99<20ms and errors<=9"
        )));
        assert!(answer.contains("50% of its threads' time"), "{answer}");
    }

    #[test]
    fn a_limit_of_the_generator_gives_a_lower_bound_and_the_fault() {
        let capacity = survey(terms(&["p99<5ms"]), saturated_above(3e3)).capacity();
        let answer = answer_of(&describe(&capacity));
        assert!(answer.starts_with("capacity: at least "), "{answer}");
        let fault = saturated_above(0.0)(1.0).unwrap().to_string();
        assert!(answer.contains(&fault), "{answer}");
    }

    #[test]
    fn a_time_of_which_only_a_bound_is_known_says_so() {
        let mut survey = Survey::new("a server".into(), terms(&["p99<1s"])).unwrap();
        let mut load = response(10);
        let times = load.summary.latencies[Span::Response].as_mut().unwrap();
        times.p99 = None;
        times.at_least = Some(LowerBounds {
            p99: Some(4e6),
            ..LowerBounds::default()
        });
        survey.record(&load);
        let text = describe(&survey.capacity());
        assert!(
            text.contains(" >=4.00s ") && text.contains("p99 is at least 4.00s"),
            "{text}"
        );
    }

    #[test]
    fn a_range_that_holds_to_its_end_is_a_lower_bound() {
        let text = describe(&survey(terms(&["p99<1h"]), |_| None).capacity());
        assert!(
            answer_of(&text).starts_with("capacity: at least 1.00M/s"),
            "{text}"
        );
    }

    #[test]
    fn a_server_that_holds_no_rate_is_shown_with_the_lowest_one() {
        let nothing = Terms {
            first: 1e3,
            ..terms(&["max<=0s"])
        };
        let text = describe(&survey(nothing, |_| None).capacity());
        let answer = answer_of(&text);
        assert!(
            answer.starts_with("capacity: not found") && answer.contains("1.00/s"),
            "{text}"
        );
    }

    #[test]
    fn a_search_that_was_ended_early_has_not_verified_its_rate() {
        let mut survey = Survey::new("a server".into(), terms(&["p99<1s"])).unwrap();
        assert!(answer_of(&describe(&survey.capacity())).starts_with("capacity: not found"));
        survey.record(&response(10));
        let text = describe(&survey.capacity());
        assert!(answer_of(&text).contains("at least 1.00k/s"), "{text}");
        assert!(text.contains("not verified"), "{text}");
    }
}
