//! The values that servers are compared by.

mod support;

use record::histogram::{self, Encoded, Quantiles};
use record::{Interval, Load, Slice, Span};
use reports::comparison::Blocks;
use reports::metrics::{ECHOES, METRICS, P99};
use reports::values::{MeasuredTrial, values};

/// A trial whose slices have as many echoes, all with the same latency.
fn load(echoes: &[u64], latency_ns: u64) -> (Load, Vec<Slice>) {
    let interval = |&echoes: &u64| {
        let mut latency = histogram::empty();
        latency.saturating_record_n(latency_ns, echoes);
        Interval {
            start_s: 0.0,
            duration_s: 0.02,
            echoes,
            latency: Encoded::new(&latency),
            reconnects: 0,
        }
    };
    let slice = |turn| Slice {
        turn,
        ..Slice::default()
    };
    let mut load = support::load(&histogram::empty(), 10, 1e5, 2000, 10);
    load.intervals = echoes.iter().map(interval).collect();
    (load, (0..).map(slice).take(echoes.len()).collect())
}

fn trial<'a>((load, slices): &'a (Load, Vec<Slice>)) -> [MeasuredTrial<'a>; 1] {
    [MeasuredTrial {
        block: 3,
        load,
        cost: None,
        slices,
    }]
}

fn turns(servers: &[&[MeasuredTrial]], key: &str) -> Vec<Vec<u32>> {
    let metric = METRICS.iter().find(|metric| metric.key == key).unwrap();
    let of_server = |blocks: Blocks| blocks[&3].keys().copied().collect();
    values(servers, metric).into_iter().map(of_server).collect()
}

#[test]
fn turns_are_merged_for_all_servers_until_each_has_enough_samples() {
    let (one, other) = (
        load(&[2000, 2000, 2000, 2000], 100),
        load(&[2000, 600, 600, 1000], 200),
    );
    let (one, other) = (trial(&one), trial(&other));
    // The second turn waits for the third; one poor turn does not merge the others.
    assert_eq!(turns(&[&one, &other], P99), [[0, 2, 3], [0, 2, 3]]);
    assert_eq!(turns(&[&one], P99), [[0, 1, 2, 3]]);
}

#[test]
fn a_slice_without_echoes_has_a_rate() {
    let stalled = load(&[2000, 0], 100);
    let metric = METRICS.iter().find(|metric| metric.key == ECHOES).unwrap();
    let values = values(&[&trial(&stalled)], metric);
    assert_eq!(values[0][&3], [(0, 100_000.0), (1, 25.0)].into());
}

#[test]
fn disturbed_slices_are_left_out_unless_they_are_most() {
    let disturbed = |disturbed: &[usize]| {
        let (load, mut slices) = load(&[2000; 6], 100);
        for &turn in disturbed {
            slices[turn].foreign_cpu = Some(0.3);
        }
        (load, slices)
    };
    let quiet = disturbed(&[]);
    let some = disturbed(&[1, 4]);
    let most = disturbed(&[0, 1, 2, 5]);
    let (all, left): (Vec<u32>, _) = ((0..6).collect(), vec![0, 2, 3, 5]);
    let both = [&trial(&quiet)[..], &trial(&some)];
    assert_eq!(turns(&both, ECHOES), [all.clone(), left.clone()]);
    // Turns that one server lacks are taken together with the next one.
    assert_eq!(turns(&both, P99), [left.clone(), left]);
    for key in [ECHOES, P99] {
        assert_eq!(
            turns(&[&trial(&quiet), &trial(&most)], key),
            [all.clone(), all.clone()]
        );
        assert_eq!(turns(&[&trial(&quiet)], key), std::slice::from_ref(&all));
    }
}

#[test]
fn slices_do_not_hide_that_a_message_had_no_answer_at_the_end() {
    let answering = load(&[2000; 4], 100);
    let mut forgetful = load(&[2000; 4], 50);
    let mut ended = histogram::empty();
    ended.saturating_record_n(50, 8000);
    let mut unfinished = histogram::empty();
    unfinished.saturating_record_n(1_000_000_000, 100);
    let numbers = Quantiles::with_unfinished(&ended, Some(&unfinished));
    forgetful.0.summary.latencies[Span::Service] = Some(numbers);
    let (answering, forgetful) = (trial(&answering), trial(&forgetful));
    let metric = |key| METRICS.iter().find(|metric| metric.key == key).unwrap();
    let has_values = |key| -> Vec<bool> {
        let values = values(&[&answering, &forgetful], metric(key));
        values.iter().map(|blocks| !blocks.is_empty()).collect()
    };
    assert_eq!(has_values(P99), [true, false]);
    assert_eq!(has_values(ECHOES), [true, true]);
}
