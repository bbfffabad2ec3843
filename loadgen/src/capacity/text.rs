//! A capacity as a person reads it: the curve, then the answer.

use record::units::show_rate;
use record::words::show_micros;
use record::{Capacity, CapacityTrial, Limit};

/// The trials by their rate, and what they say together.
pub fn describe(capacity: &Capacity) -> String {
    let mut trials: Vec<&CapacityTrial> = capacity.trials.iter().collect();
    trials.sort_by(|one, other| one.rate_per_s.total_cmp(&other.rate_per_s));
    let mut lines = vec![
        format!("{}: which rate meets {}", capacity.target, objectives(capacity)),
        String::new(),
        row(
            ["offered", "achieved", "p50", "p99", "p99.9"].map(String::from),
            "",
        ),
    ];
    lines.extend(trials.iter().map(|trial| of_trial(trial)));
    lines.extend([String::new(), format!("capacity: {}", answer(capacity))]);
    lines.extend(limit(capacity).map(|text| format!("  {text}")));
    lines.join("\n") + "\n"
}

/// What became of a trial, in a line: `22.6k/s held`.
pub fn outcome(trial: &CapacityTrial) -> String {
    format!("{} {}", show_rate(trial.rate_per_s), held(trial))
}

fn objectives(capacity: &Capacity) -> String {
    capacity.objectives.join(" and ")
}

fn row(cells: [String; 5], outcome: &str) -> String {
    let [offered, achieved, p50, p99, p99_9] = cells;
    let line = format!("{offered:>11}{achieved:>11}{p50:>9}{p99:>9}{p99_9:>9}  {outcome}");
    line.trim_end().into()
}

fn of_trial(trial: &CapacityTrial) -> String {
    let summary = &trial.summary;
    let times = summary.response_us.as_ref().unwrap_or(&summary.service_us);
    let time = |micros: Option<f64>| micros.map_or("-".into(), show_micros);
    let cells = [
        show_rate(trial.rate_per_s),
        show_rate(summary.echoes_per_s),
        time(times.p50),
        time(times.p99),
        time(times.p99_9),
    ];
    row(cells, &held(trial))
}

fn held(trial: &CapacityTrial) -> String {
    match (&trial.reason, trial.limit) {
        (None, _) => "held".into(),
        (Some(reason), Some(Limit::Generator)) => format!("not told: {reason}"),
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
        (None, _) => return format!("not found: no rate was seen yet at which {objectives} held"),
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

/// Which side was saturated, as the last trial above what held shows it.
fn limit(capacity: &Capacity) -> Option<String> {
    let high = capacity.high_per_s?;
    let blamed = |trial: &&CapacityTrial| trial.rate_per_s == high && trial.limit == Some(capacity.limit);
    let trial = capacity.trials.iter().rfind(blamed)?;
    Some(match capacity.limit {
        Limit::Generator => format!(
            "{}; the server may hold more: try more --threads, and --cpus that the server does not need",
            trial.reason.as_deref().unwrap_or_default()
        ),
        _ if trial.generator.wait == record::Wait::Spin => {
            "the server, or the path to it, was the limit".into()
        }
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
    use crate::capacity::tests::{response, survey, terms};
    use crate::capacity::{Survey, Terms};

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
        let answer = format!(
            "capacity: between {low} and {high} (p99<20ms and errors<=9 held in 3 of 3 runs at {low})"
        );
        assert!(text.contains(&answer), "{text}");
        assert!(
            text.contains("the server, or the path to it, was the limit"),
            "{text}"
        );
        assert!(text.contains("50% of its threads' time"), "{text}");
    }

    #[test]
    fn a_limit_of_the_generator_is_said_clearly() {
        let saturated = |rate| (rate > 5e3).then(|| "saturated at 97%".to_owned());
        let text = describe(&survey(terms(&["p99<5ms"]), saturated).capacity());
        assert!(text.contains("capacity: at least "), "{text}");
        assert!(text.contains("the generator was the limit from "), "{text}");
        assert!(
            text.contains("saturated at 97%; the server may hold more"),
            "{text}"
        );
    }

    #[test]
    fn a_range_that_holds_to_its_end_is_a_lower_bound() {
        let text = describe(&survey(terms(&["p99<1h"]), |_| None).capacity());
        assert!(
            text.contains(
                "at least 1.00M/s: no higher rate was tried (p99<1h held in 3 of 3 runs at 1.00M/s)"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_holds_at_no_rate_is_said_with_the_lowest_that_was_tried() {
        let nothing = Terms {
            first: 1e3,
            ..terms(&["max<=0s"])
        };
        let text = describe(&survey(nothing, |_| None).capacity());
        assert!(
            text.contains("capacity: not found: max<=0s did not hold even at 1.00/s"),
            "{text}"
        );
    }

    #[test]
    fn what_was_found_when_it_was_ended_is_not_called_verified() {
        let mut survey = Survey::new("a server".into(), terms(&["p99<1s"])).unwrap();
        assert!(describe(&survey.capacity()).contains("no rate was seen yet"));
        survey.record(&response(10), None);
        let text = describe(&survey.capacity());
        assert!(
            text.contains("at least 1.00k/s") && text.contains("not verified"),
            "{text}"
        );
    }
}
