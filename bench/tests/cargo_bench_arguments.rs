//! How criterion's arguments select the suite that follows it in `cargo bench`.

#[path = "../benches/echobench/arguments.rs"]
mod arguments;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use arguments::Arguments;

const SUITE: &str = "suite/quick";

fn of(line: &str) -> Arguments {
    Arguments::of(line.split_whitespace().map(str::to_owned).collect()).unwrap()
}

/// Whether the suite runs under these arguments.
fn suite_runs(line: &str) -> bool {
    let arguments = of(line);
    arguments.measures() && arguments.selects(SUITE)
}

#[test]
fn the_suite_runs_when_criterion_measures() {
    for line in [
        "--bench",
        "--quick --bench",
        "--bench --save-baseline before",
        "-b before --bench",
        "--bench --noplot",
    ] {
        assert!(suite_runs(line), "{line}");
    }
}

#[test]
fn the_suite_is_skipped_when_criterion_does_not_measure() {
    for line in [
        "",
        "--list --bench",
        "--bench --load-baseline before --baseline other",
        "--bench --profile-time 5",
        "--bench --profile-time=5",
        "--bench --test",
        "--bench --ignored",
    ] {
        assert!(!suite_runs(line), "{line}");
    }
}

#[test]
fn a_filter_selects_the_suite_by_its_name() {
    for line in [
        "--bench suite",
        "--bench suite/quick",
        "--bench quick",
        "--bench ^suite/",
        "--exact suite/quick --bench",
    ] {
        assert!(suite_runs(line), "{line}");
    }
    for line in [
        "--bench roundtrip",
        "--bench epoll",
        "--exact suite --bench",
        "--bench connect/fork$",
    ] {
        assert!(!suite_runs(line), "{line}");
    }
}

#[test]
fn the_value_of_an_option_is_not_the_filter() {
    assert!(!of("--bench --save-baseline roundtrip --sample-size 20").filters());
    assert!(of("--bench --sample-size=20 roundtrip").filters());
    assert!(suite_runs("--bench --color never -s roundtrip"));
    assert!(suite_runs("--bench --warm-up-time 1 --measurement-time 2"));
}

#[test]
fn quick_list_and_plots_are_recognized() {
    assert!(of("--bench --plotting-backend plotters").draws() && of("--plotting-backend=plotters").draws());
    assert!(!of("--bench").draws());
    assert!(of("--bench --quick").quick() && !of("--bench").quick());
    assert!(of("--list").lists() && !of("--bench").lists());
}

#[test]
fn an_argument_that_is_not_utf_8_is_named() {
    let of = |last: &[u8]| {
        let last = OsStr::from_bytes(last).to_owned();
        arguments::words(["--bench".into(), last].into_iter())
    };
    assert_eq!(of(b"epoll").unwrap(), ["--bench", "epoll"]);
    assert!(of(b"x\xff").unwrap_err().contains(r"x\xFF"));
}
