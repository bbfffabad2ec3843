//! Loads that ran at the same time merge to the load that one generator would have made.

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output, Stdio};

use loadgen::merge::{MergeError, Part, Sum, merge};
use proptest::prelude::*;
use record::histogram::{Encoded, Known, Quantiles, Statistic};
use record::{
    Arrivals, BySpan, Engine, ErrorKind, Finding, Load, ReadError, Reconnects, SCHEMA_VERSION, Saturation,
    Span, Wait,
};

use crate::fixture::{load, of};

/// Parts a and b, which can be merged.
fn pair() -> [Part; 2] {
    let part = |name: &str, samples: &[u64], started_at: &str| Part {
        name: name.into(),
        load: Load {
            started_at: started_at.into(),
            ..load(&[samples.to_vec()])
        },
    };
    [
        part("a.json", &[1_000; 30], "2026-01-01T00:00:00.010Z"),
        part("b.json", &[9_000; 10], "2026-01-01T00:00:00.002Z"),
    ]
}

/// The sum of the pair once a and b are changed.
fn changed(a: impl Fn(&mut Load), b: impl Fn(&mut Load)) -> Result<Sum, MergeError> {
    let mut parts = pair();
    a(&mut parts[0].load);
    b(&mut parts[1].load);
    merge(&parts)
}

/// Why the pair is refused once b is changed.
fn refused(change: impl Fn(&mut Load)) -> MergeError {
    changed(|_| (), change).unwrap_err()
}

/// A load with a histogram of every span, each with other values.
fn full(intervals: &[Vec<u64>]) -> Load {
    let samples = intervals.concat();
    let divided = |divisor| of(&samples.iter().map(|ns| ns / divisor).collect::<Vec<_>>());
    Load {
        histograms: BySpan::from_fn(|span| Some(Encoded::new(&divided(1 + span as u64)))),
        ..load(intervals)
    }
}

/// The part that a file with this load holds.
fn through_a_file(name: String, load: &Load) -> Part {
    Part::read(name, serde_json::to_string_pretty(load).unwrap().as_bytes()).unwrap()
}

proptest! {
    #[test]
    fn the_sum_is_bit_identical_to_one_histogram_of_the_union(
        samples in prop::collection::vec((0..u64::MAX / 2, 0..5_usize, 0..4_usize), 0..300),
        parts in 2..6_usize,
        pieces in 1..5_usize,
    ) {
        let cut = |chosen: &dyn Fn(usize) -> bool| {
            let mut intervals = vec![Vec::new(); pieces];
            for (ns, part, piece) in &samples {
                if chosen(part % parts) {
                    intervals[piece % pieces].push(*ns);
                }
            }
            full(&intervals)
        };
        let files: Vec<_> = (0..parts)
            .map(|part| {
                let started_at = format!("2026-01-01T00:00:00.00{part}Z");
                let load = Load { started_at, ..cut(&|chosen| chosen == part) };
                through_a_file(format!("{part}.json"), &load)
            })
            .collect();
        let sum = merge(&files).unwrap();
        prop_assert_eq!(&sum.warnings, &[""; 0]);
        let union = cut(&|_| true);
        prop_assert_eq!(&sum.load.histograms, &union.histograms);
        prop_assert_eq!(&sum.load.intervals, &union.intervals);
        for (span, encoded) in union.histograms.measured() {
            let quantiles = Quantiles::of(&encoded.decode().unwrap());
            prop_assert_eq!(&sum.load.summary.latencies[span], &Some(quantiles), "{}", span);
        }
        let again = through_a_file("sum".into(), &sum.load);
        prop_assert_eq!(again.load, sum.load);
    }
}

#[test]
fn counts_and_rates_add() {
    let errors = |load: &mut Load, kind, number, example: &str| {
        load.summary.errors = BTreeMap::from([(ErrorKind::Reset, 1), (kind, number)]);
        load.error_examples = BTreeMap::from([(ErrorKind::Reset, example.into())]);
    };
    let sum = changed(
        |a| {
            (a.summary.echoes_per_s, a.summary.offered_per_s) = (100.0, Some(110.0));
            (a.summary.unanswered, a.plan.threads, a.plan.idle) = (2, Some(3), 5);
            errors(a, ErrorKind::Refused, 4, "of a");
        },
        |b| {
            (b.summary.echoes_per_s, b.summary.offered_per_s) = (7.0, Some(8.0));
            (b.summary.unanswered, b.plan.threads, b.plan.idle) = (1, Some(1), 1);
            errors(b, ErrorKind::Reset, 2, "of b");
        },
    );
    let load = sum.unwrap().load;
    let summary = &load.summary;
    assert_eq!(
        (summary.echoes_per_s, summary.offered_per_s),
        (107.0, Some(118.0))
    );
    assert_eq!((summary.echoes, summary.unanswered), (40, 3));
    assert_eq!((summary.connections.asked, summary.connections.answered), (8, 8));
    assert_eq!(
        summary.errors,
        BTreeMap::from([(ErrorKind::Refused, 4), (ErrorKind::Reset, 3)])
    );
    assert_eq!(load.error_examples[&ErrorKind::Reset], "of a");
    assert_eq!(
        (load.plan.connections(), load.plan.threads(), load.plan.idle),
        (8, 4, 6)
    );
    assert_eq!(load.started_at, "2026-01-01T00:00:00.002Z", "the earliest");
}

#[test]
fn lost_connections_add_and_the_longest_time_without_a_server_is_kept() {
    let lost = |lost, longest_s| {
        move |load: &mut Load| {
            load.plan.reconnect = true;
            load.intervals[0].reconnects = lost - 1;
            load.summary.reconnects = Some(Reconnects {
                lost,
                reopened: lost - 1,
                failed_attempts: 10 * lost,
                messages_lost: 100 * lost,
                longest_s,
            });
        }
    };
    let sum = changed(lost(2, 0.5), lost(5, 1.5)).unwrap().load;
    let expected = Reconnects {
        lost: 7,
        reopened: 5,
        failed_attempts: 70,
        messages_lost: 700,
        longest_s: 1.5,
    };
    assert_eq!(sum.summary.reconnects, Some(expected));
    assert_eq!(sum.intervals[0].reconnects, 5);
    assert_eq!(merge(&pair()).unwrap().load.summary.reconnects, None);
    let differ = changed(lost(2, 0.5), |_| ()).unwrap_err();
    assert!(matches!(differ, MergeError::Differ { field, .. } if field == "plan.reconnect"));
}

#[test]
fn quantiles_are_those_of_the_sum() {
    let sum = merge(&pair()).unwrap().load;
    let p50 = sum.summary.latencies.main().unwrap().p50.unwrap();
    assert!((p50 - 1.0).abs() < 0.01, "of 40 samples 30 are 1 us: {p50}");
}

#[test]
fn impossible_numbers_do_not_overflow() {
    let huge = |load: &mut Load| {
        (load.summary.echoes, load.plan.idle, load.plan.threads) = (u64::MAX, usize::MAX, Some(0));
        load.summary.errors = BTreeMap::from([(ErrorKind::Lost, u64::MAX)]);
    };
    let sum = changed(huge, huge).unwrap().load;
    assert_eq!((sum.summary.echoes, sum.plan.idle), (u64::MAX, usize::MAX));
    assert_eq!(sum.summary.errors[&ErrorKind::Lost], u64::MAX);
    assert_eq!(sum.generator.utilisation, 0.0, "without threads");
}

#[test]
fn generators_merge_to_one() {
    let sum = changed(
        |a| {
            (a.plan.threads, a.generator.utilisation, a.generator.steal) = (Some(3), 0.2, Some(0.1));
            (a.generator.cpus, a.summary.cpu_us_per_echo) = (vec![0, 1], Some(2.0));
        },
        |b| {
            (b.plan.threads, b.generator.utilisation, b.generator.steal) = (Some(1), 0.6, None);
            (b.generator.cpus, b.summary.cpu_us_per_echo) = (vec![1], Some(6.0));
            b.generator.wait = Wait::Spin;
        },
    );
    let Load {
        generator, summary, ..
    } = sum.unwrap().load;
    assert!(
        (generator.utilisation - 0.3).abs() < 1e-9,
        "weighted by threads: {generator:?}"
    );
    assert_eq!(
        summary.cpu_us_per_echo,
        Some(3.0),
        "weighted by echoes, 30 and 10"
    );
    assert_eq!((generator.cpus, generator.steal), (vec![0, 1, 1], Some(0.1)));
    assert_eq!((generator.wait, generator.engine), (Wait::Mixed, Engine::Epoll));
}

#[test]
fn the_findings_of_all_parts_are_those_of_the_sum() {
    let withheld = |text: &str| Finding::Withheld { text: text.into() };
    let of_part = |part: &str, found| Finding::OfPart {
        part: part.into(),
        found: Box::new(found),
    };
    let sum = changed(
        |a| a.summary.findings = [withheld("late")].into(),
        |b| b.summary.findings = [Finding::NoEchoes, withheld("later")].into(),
    );
    let findings = sum.unwrap().load.summary.findings;
    let expected = [
        of_part("a.json", withheld("late")),
        of_part("b.json", Finding::NoEchoes),
        of_part("b.json", withheld("later")),
    ];
    assert!(!findings.is_valid());
    assert_eq!(findings, expected.into());
    assert!(merge(&pair()).unwrap().load.summary.is_valid());
}

#[test]
fn rates_and_stages_of_equal_lengths_add() {
    let stages = |stages: Option<&str>| {
        let stages = stages.map(|text| text.parse().unwrap());
        move |load: &mut Load| (load.plan.rate, load.plan.stages) = (None, stages.clone())
    };
    let sum = changed(stages(Some("2s@1/s..10/s")), stages(Some("2s@4/s..10/s")))
        .unwrap()
        .load;
    assert_eq!(sum.plan.stages.unwrap().to_string(), "2s@5/s..20/s");
    assert_eq!(merge(&pair()).unwrap().load.plan.rate.unwrap().to_string(), "2/s");
    for other in [Some("3s@1/s"), Some("2s@1/s,2s@1/s"), None] {
        let error = changed(stages(Some("2s@1/s..10/s")), stages(other)).unwrap_err();
        let MergeError::Differ { field, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(field, "plan.stages");
    }
}

#[test]
fn a_field_that_differs_is_named_with_both_values() {
    type Change = fn(&mut Load);
    let table: [(&str, Change); 12] = [
        ("target", |load| load.target = "127.0.0.1:8008".into()),
        ("plan.rate", |load| load.plan.rate = None),
        ("plan.connections", |load| load.plan.connections = None),
        ("plan.udp", |load| load.plan.udp = true),
        ("plan.size", |load| load.plan.size = "65B".parse().unwrap()),
        ("plan.depth", |load| load.plan.depth = 2),
        ("plan.think", |load| load.plan.think = "500ms".parse().unwrap()),
        ("plan.arrivals", |load| {
            load.plan.arrivals = Some(Arrivals::Poisson)
        }),
        ("plan.messages_per_connection", |load| {
            load.plan.messages_per_connection = Some(3)
        }),
        ("histograms.response", |load| {
            load.histograms[Span::Response] = None
        }),
        ("histograms.close", |load| {
            load.histograms[Span::Close] = load.histograms[Span::Response].clone()
        }),
        ("histograms.connect", |load| {
            load.histograms[Span::Connect] = load.histograms[Span::Response].clone()
        }),
    ];
    for (name, change) in table {
        let error = refused(change);
        let MergeError::Differ {
            field, first, second, ..
        } = &error
        else {
            panic!("{name}: {error}")
        };
        assert!(field.starts_with(name), "{name}: {error}");
        assert_eq!((&first[..], &second[..]), ("a.json", "b.json"));
    }
    let error = refused(|load| load.plan.depth = 2);
    let MergeError::Differ { one, other, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((&one[..], &other[..]), ("1", "2"));
}

#[test]
fn windows_may_differ_by_a_twentieth() {
    let sum = changed(|_| (), |b| b.window_s = 1.91).unwrap();
    assert_eq!(sum.load.window_s, 2.0, "the longest");
    let error = refused(|b| b.window_s = 1.89);
    let MergeError::Windows {
        first, one, other, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((&first[..], *one, *other), ("b.json", 1.89, 2.0));
}

#[test]
fn windows_that_do_not_overlap_are_refused_and_late_ones_warned_of() {
    let error = refused(|b| b.started_at = "2026-01-01T00:00:02.100Z".into());
    assert!(
        matches!(&error, MergeError::Apart { first, second } if first == "a.json" && second == "b.json"),
        "{error}"
    );
    let sum = changed(|_| (), |b| b.started_at = "2026-01-01T00:00:01.010Z".into()).unwrap();
    assert!(
        sum.warnings.len() == 1 && sum.warnings[0].contains("1.0 s apart"),
        "{:?}",
        sum.warnings
    );
    assert_eq!(merge(&pair()).unwrap().warnings, [""; 0]);
    let error = refused(|b| b.started_at = "once".into());
    assert!(
        matches!(&error, MergeError::Time { name, started_at } if name == "b.json" && started_at == "once"),
        "{error}"
    );
}

#[test]
fn one_load_cannot_be_merged_and_none_counts_twice() {
    let [a, b] = pair();
    assert!(matches!(merge(&[]), Err(MergeError::TooFew)));
    assert!(matches!(merge(std::slice::from_ref(&a)), Err(MergeError::TooFew)));
    let again = Part {
        name: "c.json".into(),
        load: a.load.clone(),
    };
    let error = merge(&[a, b, again]).unwrap_err();
    assert!(
        matches!(&error, MergeError::Twice { first, second } if first == "a.json" && second == "c.json"),
        "{error}"
    );
}

/// A third part, which can be merged with the pair.
fn third() -> Part {
    let [a, _] = pair();
    let started_at = "2026-01-01T00:00:00.005Z".into();
    Part {
        name: "c.json".into(),
        load: Load { started_at, ..a.load },
    }
}

/// The sum of parts, through a file.
fn sum(name: &str, parts: &[Part]) -> Part {
    through_a_file(name.into(), &merge(parts).unwrap().load)
}

#[test]
fn a_sum_and_one_of_its_parts_are_refused_with_their_names() {
    let ([a, b], c) = (pair(), third());
    let ab = sum("ab.json", &[a.clone(), b.clone()]);
    assert_eq!(ab.load.parts.len(), 2);
    for parts in [[ab.clone(), b.clone()], [b.clone(), ab.clone()]] {
        let error = merge(&parts).unwrap_err();
        assert!(
            matches!(&error, MergeError::Held { sum, part } if sum == "ab.json" && part == "b.json"),
            "{error}"
        );
    }
    // A sum of sums has all parts.
    let abc = sum("abc.json", &[ab.clone(), c.clone()]);
    assert_eq!(abc.load.parts.len(), 3);
    assert_eq!(
        abc.load.summary.echoes,
        merge(&[a.clone(), b, c.clone()]).unwrap().load.summary.echoes
    );
    for part in [a.clone(), c.clone(), ab.clone()] {
        let error = merge(&[abc.clone(), part.clone()]).unwrap_err();
        assert!(
            matches!(&error, MergeError::Held { part: name, .. } if *name == part.name),
            "{error}"
        );
    }
    let ac = sum("ac.json", &[a, c]);
    let error = merge(&[ab.clone(), ac]).unwrap_err();
    assert!(matches!(&error, MergeError::Shared { loads: 1, .. }), "{error}");
    assert!(error.to_string().contains("both hold 1 load, which"), "{error}");
    let again = Part {
        name: "copy.json".into(),
        ..ab.clone()
    };
    let error = merge(&[ab, again]).unwrap_err();
    assert!(
        matches!(&error, MergeError::Twice { second, .. } if second == "copy.json"),
        "{error}"
    );
}

#[test]
fn a_copy_of_a_load_is_the_same_whatever_its_file_looks_like() {
    let [a, b] = pair();
    let compact = serde_json::to_vec(&a.load).unwrap();
    let copy = Part::read("copy.json", &compact[..]).unwrap();
    assert!(matches!(
        merge(&[a.clone(), b, copy]),
        Err(MergeError::Twice { .. })
    ));
    let mut other = a.clone();
    other.load.generator.utilisation += 1e-9;
    assert!(merge(&[a, other]).is_ok(), "another generator");
}

/// As an older program wrote it.
fn older(part: &Part) -> Part {
    let mut json = serde_json::to_value(&part.load).unwrap();
    json["schema_version"] = 4.into();
    json.as_object_mut().unwrap().remove("parts");
    let load = serde_json::from_value(json).unwrap();
    Part {
        name: part.name.clone(),
        load,
    }
}

#[test]
fn loads_of_older_programs_are_compared_by_what_they_hold_and_merged_with_a_warning() {
    let [a, b] = pair();
    let merged = merge(&[older(&a), b.clone()]).unwrap();
    assert!(
        merged.warnings.len() == 1 && merged.warnings[0].contains("older program wrote a.json"),
        "{:?}",
        merged.warnings
    );
    assert_eq!(merged.load.summary.echoes, 40);
    // A new sum knows its old parts.
    let new = through_a_file("sum.json".into(), &merged.load);
    assert!(matches!(merge(&[new, older(&a)]), Err(MergeError::Held { .. })));
    // The latencies of an old sum show its parts.
    let old = older(&sum("old.json", &[a.clone(), b.clone()]));
    for part in [a.clone(), older(&a)] {
        let error = merge(&[part, old.clone()]).unwrap_err();
        assert!(
            matches!(&error, MergeError::Held { sum, part } if sum == "old.json" && part == "a.json"),
            "{error}"
        );
    }
    let mut beside = third();
    beside.load.histograms[Span::Service] = Some(Encoded::new(&of(&[8])));
    assert_eq!(merge(&[old, beside]).unwrap().load.plan.connections(), 12);
    let both = merge(&[older(&a), older(&b)]).unwrap().warnings;
    assert!(both.len() == 1 && both[0].contains("a.json, b.json"), "{both:?}");
}

#[test]
fn what_has_not_ended_in_a_part_has_not_ended_in_the_sum() {
    let waiting = |load: &mut Load| {
        let service = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
        let response = load.histograms[Span::Response]
            .as_ref()
            .unwrap()
            .decode()
            .unwrap();
        let waited = of(&[4_000_000_000; 2]);
        let of_span = |ended| Quantiles::with_unfinished(ended, Some(&waited));
        load.summary.latencies[Span::Service] = Some(of_span(&service));
        load.summary.latencies[Span::Response] = Some(of_span(&response));
        load.unfinished = Some(
            [Span::Service, Span::Response]
                .map(|span| (span, Encoded::new(&waited)))
                .into(),
        );
        load.summary.unanswered = 2;
    };
    let sum = changed(waiting, |_| ()).unwrap().load;
    let twice = changed(waiting, waiting).unwrap().load;
    for (load, unanswered) in [(&sum, 2), (&twice, 4)] {
        let response = load.unfinished(Span::Response).unwrap().decode().unwrap();
        assert_eq!(
            (response.len(), load.summary.unanswered),
            (unanswered, unanswered)
        );
        let numbers = load.summary.latencies.main().unwrap();
        assert!(numbers.known(Statistic::P50).is_some_and(Known::is_exact));
        assert!(
            numbers
                .known(Statistic::Max)
                .is_some_and(|max| !max.is_exact() && max.value() >= 4e6)
        );
    }
    assert_eq!(through_a_file("sum".into(), &sum).load, sum);
    assert_eq!(merge(&pair()).unwrap().load.unfinished, None);
}

#[test]
fn intervals_that_do_not_match_are_dropped_with_a_warning() {
    type Change = fn(&mut Load);
    let changes: [Change; 2] = [
        |load| load.intervals.clear(),
        |load| load.intervals[0].duration_s *= 2.0,
    ];
    for change in changes {
        let sum = changed(|_| (), change).unwrap();
        assert!(sum.load.intervals.is_empty());
        assert!(
            sum.warnings.len() == 1 && sum.warnings[0].contains("intervals"),
            "{:?}",
            sum.warnings
        );
    }
    let none = |load: &mut Load| load.intervals.clear();
    assert_eq!(changed(none, none).unwrap().warnings, [""; 0]);
}

#[test]
fn a_saturated_generator_is_named() {
    let sum = changed(|_| (), |b| b.generator.utilisation = 0.97).unwrap();
    assert_eq!(
        sum.load.generator.saturation(),
        Saturation::None,
        "the mean hides it"
    );
    assert!(
        sum.warnings.len() == 1 && sum.warnings[0].contains("b.json"),
        "{:?}",
        sum.warnings
    );
}

#[test]
fn equal_seeds_are_warned_of() {
    let drawn =
        |seed| move |load: &mut Load| (load.plan.arrivals, load.plan.seed) = (Some(Arrivals::Poisson), seed);
    let sum = changed(drawn(7), drawn(7)).unwrap();
    assert!(
        sum.warnings.len() == 1 && sum.warnings[0].contains("seed 7"),
        "{:?}",
        sum.warnings
    );
    assert_eq!(changed(drawn(7), drawn(8)).unwrap().warnings, [""; 0]);
}

#[test]
fn a_file_without_a_load_is_named() {
    let read = |text: &str| Part::read("c.json", text.as_bytes()).unwrap_err();
    for text in ["", "<html>", "{}", "[]", "{\"schema_version\":2}"] {
        let error = read(text);
        assert!(matches!(error, MergeError::Syntax { .. }), "{error}");
        assert!(error.to_string().contains("c.json"), "{error}");
    }
    let two = serde_json::to_string(&pair()[0].load).unwrap().repeat(2);
    let error = read(&two);
    assert!(matches!(error, MergeError::SeveralLoads { .. }), "{error}");
    assert!(error.to_string().contains("c.json"), "{error}");
    let endless = Part::read("c.json", std::io::repeat(b' ')).unwrap_err();
    assert!(matches!(endless, MergeError::TooLarge { .. }), "{endless}");
}

#[test]
fn a_newer_schema_is_refused_by_its_number() {
    let newer = format!("{{\"schema_version\": {}, \"new\": true}}", SCHEMA_VERSION + 1);
    let error = Part::read("c.json", newer.as_bytes()).unwrap_err();
    let MergeError::Version {
        name,
        error: ReadError::Version { found },
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((&name[..], *found), ("c.json", SCHEMA_VERSION + 1));
}

#[test]
fn a_damaged_histogram_is_refused_with_its_file() {
    let damaged = || serde_json::from_str("\"AAAA\"").unwrap();
    for error in [
        refused(|load| load.histograms[Span::Service] = Some(damaged())),
        refused(|load| load.histograms[Span::Response] = Some(damaged())),
        refused(|load| load.intervals[0].latency = damaged()),
    ] {
        assert!(
            matches!(&error, MergeError::Histogram { name, .. } if name == "b.json"),
            "{error}"
        );
    }
}

/// Runs `loadgen merge` in a folder where the changed pair is a.json and b.json.
fn command(change: impl Fn(&mut [Part; 2]), arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = pair();
    change(&mut parts);
    for part in &parts {
        let text = serde_json::to_string_pretty(&part.load).unwrap();
        fs::write(folder.path().join(&part.name), text).unwrap();
    }
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .current_dir(folder.path())
        .arg("merge")
        .args(arguments)
        .stdin(match arguments.contains(&"-") {
            true => fs::File::open(folder.path().join("a.json")).unwrap().into(),
            false => Stdio::null(),
        })
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_command_prints_the_sum_as_text_or_json() {
    let output = command(|_| (), &["a.json", "b.json"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    for word in ["127.0.0.1:7007", "8 connections", "40 in 2.00 s"] {
        assert!(
            text(&output.stdout).contains(word),
            "{word}: {}",
            text(&output.stdout)
        );
    }
    let output = command(|_| (), &["--format", "json", "-", "b.json"]);
    let printed: Load = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, merge(&pair()).unwrap().load);
}

#[test]
fn the_command_exits_with_3_if_the_sum_is_not_valid() {
    let invalid = |parts: &mut [Part; 2]| parts[1].load.summary.findings = [Finding::NoEchoes].into();
    let output = command(invalid, &["a.json", "b.json", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let printed: Load = serde_json::from_slice(&output.stdout).unwrap();
    let expected = Finding::OfPart {
        part: "b.json".into(),
        found: Box::new(Finding::NoEchoes),
    };
    assert_eq!(printed.summary.findings, [expected].into());
}

#[test]
fn the_command_warns_on_standard_error_and_fails_with_the_name_of_the_file() {
    let output = command(|parts| parts[1].load.intervals.clear(), &["a.json", "b.json"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output.stderr).contains("warning") && !text(&output.stdout).contains("warning"),
        "{}",
        text(&output.stderr)
    );
    let sum = merge(&pair()).unwrap().load;
    let held = command(|parts| parts[1].load = sum.clone(), &["a.json", "b.json"]);
    assert_eq!((held.status.code(), text(&held.stdout)), (Some(1), ""));
    let expected =
        "loadgen: b.json is a sum that holds a.json already, which would count twice: give one of them\n";
    assert_eq!(text(&held.stderr), expected);
    for arguments in [["a.json", "none.json"], ["a.json", "."], ["b.json", "b.json"]] {
        let output = command(|_| (), &arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
        assert!(
            text(&output.stderr).contains(arguments[1]),
            "{}",
            text(&output.stderr)
        );
    }
    assert_eq!(command(|_| (), &["a.json"]).status.code(), Some(2));
}
