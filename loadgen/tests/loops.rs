//! What the loops do, closed, open and partly open, over both engines: how much is sent, when,
//! and that every message is accounted for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::pacer::{Pace, Stage};
use loadgen::plan::{Engine, Loop, Request};
use loadgen::sizes::Sizes;
use loadgen::{Observer, Snapshot};
use record::histogram::{self, Encoded, Histogram};
use record::{Arrivals, ErrorKind, Load, Span};
use socket2::{Domain, Socket, Type};

mod support;
use support::*;

fn closed(depth: u32, think: Duration) -> Loop {
    Loop::Closed {
        depth,
        think,
        messages_per_connection: None,
    }
}

fn churn(messages: u64) -> Loop {
    Loop::Closed {
        depth: 1,
        think: Duration::ZERO,
        messages_per_connection: Some(messages),
    }
}

fn partly_open(rate: f64, duration: Duration, messages: u64) -> Loop {
    Loop::PartlyOpen {
        pace: Pace {
            stages: vec![Stage::steady(duration, rate)],
            arrivals: Arrivals::Constant,
        },
        think: Duration::ZERO,
        messages_per_connection: messages,
    }
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn decode(histogram: &Option<Encoded>) -> Histogram {
    histogram.as_ref().unwrap().decode().unwrap()
}

/// How many messages of the window were due.
fn due(load: &Load) -> u64 {
    (load.summary.offered_per_s.unwrap() * load.window_s).round() as u64
}

/// That all that was due was answered, and that every time of it was recorded.
fn assert_all_answered(load: &Load) {
    let (service, response, lag) = (
        load.histograms[Span::Service].as_ref().unwrap().decode().unwrap(),
        decode(&load.histograms[Span::Response]),
        decode(&load.histograms[Span::SendLag]),
    );
    assert_eq!(load.summary.unanswered, 0, "{:?}", load.summary.reasons());
    assert_eq!(response.len(), due(load));
    assert_eq!((service.len(), lag.len()), (response.len(), response.len()));
    for permille in 0..=1000 {
        let q = f64::from(permille) / 1000.0;
        let (response, service) = (response.value_at_quantile(q), service.value_at_quantile(q));
        assert!(response >= service, "at {q}: {response} < {service}");
    }
}

#[test]
fn a_closed_loop_is_right_whatever_the_depth_and_the_sizes() {
    let listed = Sizes::Listed {
        name: "a list".into(),
        sizes: [1, 70_000, 64].into(),
    };
    let (small, uniform) = (Sizes::Fixed(64), Sizes::Uniform(1, 100 << 10));
    let loads = [
        (1, Sizes::Fixed(1)),
        (8, small.clone()),
        (1000, small),
        (8, Sizes::Fixed(64 << 10)),
        (1, Sizes::Fixed(3 << 20)),
        (1, uniform.clone()),
        (8, uniform),
        (8, listed),
    ];
    for &engine in engines() {
        for (depth, sizes) in &loads {
            let load = run(Request {
                engine,
                discipline: closed(*depth, Duration::ZERO),
                sizes: sizes.clone(),
                ..server(echo)
            });
            assert_right(&load);
            assert_eq!(load.summary.connections.open, 4);
            assert_eq!(load.summary.connections.answered, 4, "{depth} of {sizes}");
            let service = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
            assert_eq!(service.len(), load.summary.echoes);
            assert_eq!(load.histograms[Span::Response], None);
        }
    }
}

#[test]
fn a_connection_keeps_as_many_messages_in_flight_as_its_depth_and_not_one_more() {
    const DEPTH: usize = 8;
    for &engine in engines() {
        let more = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&more);
        // Answers once that many are there, the first message apart; one more would follow at
        // once.
        let request = server(move |mut stream| {
            let (mut first, mut all) = ([0; 64], [0; 64 * DEPTH]);
            let mut is_well = stream.read_exact(&mut first).is_ok() && stream.write_all(&first).is_ok();
            while is_well && stream.read_exact(&mut all).is_ok() {
                stream.set_read_timeout(Some(millis(5))).unwrap();
                seen.fetch_or(matches!(stream.peek(&mut first), Ok(1..)), Ordering::SeqCst);
                stream.set_read_timeout(None).unwrap();
                is_well = stream.write_all(&all).is_ok();
            }
        });
        let load = run(Request {
            engine,
            discipline: closed(DEPTH as u32, Duration::ZERO),
            ..request
        });
        assert_right(&load);
        assert!(!more.load(Ordering::SeqCst), "more than {DEPTH} were in flight");
    }
}

#[test]
fn who_thinks_sends_no_faster_than_that() {
    for &engine in engines() {
        for depth in [1, 3] {
            let think = millis(20);
            let load = run(Request {
                engine,
                discipline: closed(depth, think),
                ..server(echo)
            });
            assert_right(&load);
            let rounds = load.window_s / think.as_secs_f64() + 1.0;
            let most = 4.0 * f64::from(depth) * rounds;
            let echoes = load.summary.echoes;
            assert!(echoes as f64 <= most, "{echoes} of {most}");
            assert!(echoes >= 4, "{echoes}");
        }
    }
}

#[test]
fn an_open_loop_sends_what_is_due_and_accounts_for_all_of_it() {
    for &engine in engines() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let load = run(Request {
                engine,
                discipline: Loop::open(2000.0, millis(500), arrivals),
                connections: 10,
                ..server(echo)
            });
            assert_right(&load);
            assert_all_answered(&load);
            // Five standard deviations of a Poisson count.
            let tolerance = match arrivals {
                Arrivals::Constant => 1,
                Arrivals::Poisson => 160,
            };
            assert!(due(&load).abs_diff(1000) <= tolerance, "{} were due", due(&load));
            // What others on this host hold up comes after the window.
            let echoes = load.summary.echoes;
            assert!(echoes >= due(&load) / 2, "{echoes} of {}", due(&load));
            assert_eq!(load.summary.connections.answered, 10);
        }
    }
}

#[test]
fn a_slow_server_has_several_messages_of_a_connection_in_flight() {
    for &engine in engines() {
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        // Twenty messages per second, where fifty are due.
        let request = server(move |mut stream| {
            let (mut message, mut rest) = ([0; 64], [0; 4096]);
            while stream.read_exact(&mut message).is_ok() {
                thread::sleep(millis(50));
                stream.set_nonblocking(true).unwrap();
                let behind = stream.peek(&mut rest).unwrap_or(0) / message.len();
                stream.set_nonblocking(false).unwrap();
                seen.fetch_max(1 + behind, Ordering::SeqCst);
                if stream.write_all(&message).is_err() {
                    return;
                }
            }
        });
        let load = run(Request {
            engine,
            discipline: Loop::open(100.0, millis(300), Arrivals::Constant),
            connections: 2,
            ..request
        });
        assert_right(&load);
        assert_all_answered(&load);
        let most = most.load(Ordering::SeqCst);
        assert!(most > 2, "at most {most} at a time");
        let slowest_us = load.summary.latencies[Span::Response]
            .as_ref()
            .unwrap()
            .max
            .unwrap();
        assert!(
            slowest_us > 150_000.0,
            "the last one waits for those before: {slowest_us}"
        );
    }
}

#[test]
fn a_message_is_sent_at_its_time_whatever_is_not_answered() {
    const DELAY: Duration = Duration::from_millis(1000);
    for &engine in engines() {
        let arrivals: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let seen = Arc::clone(&arrivals);
        // The first answer, to the message that only looks whether anybody is there, comes at
        // once; each after it long after all have been sent.
        let request = server(move |mut stream| {
            let mut out = stream.try_clone().unwrap();
            let (sender, answers) = mpsc::channel::<(Instant, [u8; 64])>();
            thread::spawn(move || {
                for (time, message) in answers {
                    thread::sleep(time.saturating_duration_since(Instant::now()));
                    let _ = out.write_all(&message);
                }
            });
            let (mut message, mut delay) = ([0; 64], Duration::ZERO);
            while stream.read_exact(&mut message).is_ok() {
                let now = Instant::now();
                if !delay.is_zero() {
                    seen.lock().unwrap().push(now);
                }
                sender.send((now + delay, message)).unwrap();
                delay = DELAY;
            }
        });
        let load = run(Request {
            engine,
            discipline: Loop::open(100.0, millis(300), Arrivals::Constant),
            connections: 1,
            threads: 1,
            warmup: Duration::ZERO,
            ..request
        });
        assert_all_answered(&load);
        assert_eq!(load.summary.echoes, 0, "all answers come after the window");
        let arrivals = arrivals.lock().unwrap();
        assert!(arrivals.len() as u64 >= due(&load) && due(&load) == 30);
        let span = *arrivals.last().unwrap() - arrivals[0];
        assert!(
            span < DELAY,
            "the last was sent before the first was answered: {span:?}"
        );
        assert!(span >= millis(150), "they came one after the other: {span:?}");
    }
}

/// A server that takes little at a time, and after so many bytes nothing for a while.
fn blocking_server(before: usize) -> Request {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Accepted connections have the buffers of the listener.
    socket.set_recv_buffer_size(4096).unwrap();
    socket
        .bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into())
        .unwrap();
    socket.listen(128).unwrap();
    server_of(socket.into(), move |mut stream| {
        let mut buffer = [0; 20_000];
        let mut seen = 0;
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
            if (seen..seen + length).contains(&(before - 1)) {
                thread::sleep(millis(150));
            }
            seen += length;
        }
    })
}

#[test]
fn what_a_connection_has_no_room_for_arrives_later_and_whole() {
    for &engine in engines() {
        let load = run(Request {
            engine,
            discipline: closed(8, Duration::ZERO),
            sizes: Sizes::Fixed(200 << 10),
            warmup: millis(150),
            duration: millis(400),
            ..blocking_server(200 << 10)
        });
        assert_right(&load);
        assert_eq!(load.summary.connections.answered, 4);

        let load = run(Request {
            engine,
            discipline: closed(200, Duration::ZERO),
            sizes: Sizes::Uniform(1, 10_000),
            warmup: millis(150),
            duration: millis(400),
            ..blocking_server(1)
        });
        assert_right(&load);
        assert!(load.summary.echoes > 2000, "{}", load.summary.echoes);

        let load = run(Request {
            engine,
            discipline: Loop::open(200.0, millis(400), Arrivals::Poisson),
            sizes: Sizes::Fixed(200 << 10),
            warmup: Duration::ZERO,
            ..blocking_server(200 << 10)
        });
        assert_right(&load);
        assert_all_answered(&load);
    }
}

#[test]
fn stages_and_ramps_offer_the_area_below_the_rate() {
    let stages = vec![
        Stage::steady(millis(200), 500.0),
        Stage {
            duration: millis(300),
            from: 500.0,
            to: 1500.0,
        },
    ];
    for &engine in engines() {
        let load = run(Request {
            engine,
            discipline: Loop::Open(Pace {
                stages: stages.clone(),
                arrivals: Arrivals::Constant,
            }),
            ..server(echo)
        });
        assert_right(&load);
        assert_all_answered(&load);
        assert!(due(&load).abs_diff(100 + 300) <= 1, "{} were due", due(&load));
        assert!((load.window_s - 0.5).abs() < 1e-6);
    }
}

#[test]
fn connections_that_come_by_themselves_talk_and_are_closed() {
    for &engine in engines() {
        let witness = Arc::new(Witness::default());
        let seen = Arc::clone(&witness);
        let load = run(Request {
            engine,
            discipline: partly_open(200.0, millis(500), 3),
            warmup: millis(100),
            ..server(move |stream| seen.echo(stream))
        });
        assert_right(&load);
        let summary = &load.summary;
        assert_eq!((summary.connections.asked, summary.unanswered), (100, 0));
        for histogram in [
            &load.histograms[Span::Connect],
            &load.histograms[Span::FirstByte],
            &load.histograms[Span::Close],
        ] {
            assert!(decode(histogram).len() > 50, "{summary:?}");
        }
        assert_eq!(decode(&load.histograms[Span::SendLag]).len(), 100);
        let per_second = summary.connections_per_s.unwrap();
        assert!((100.0..300.0).contains(&per_second), "{per_second}");
        // Those that were not done with when the run ended are broken off.
        let ended = witness.all_ended();
        let whole = ended.iter().filter(|end| end.properly && end.bytes == 3 * 64);
        assert!(whole.count() > 50);
        assert!(ended.iter().all(|end| end.bytes <= 3 * 64));
    }
}

/// Counts what a server has seen when the window opens and when it closes.
struct Counted<'a> {
    witness: &'a Witness,
    seen: Vec<u64>,
}

impl Observer for Counted<'_> {
    fn window_opened(&mut self) {
        self.seen.push(self.witness.begun());
    }

    fn window_closed(&mut self) {
        self.seen.push(self.witness.begun());
    }
}

#[test]
fn a_connection_that_is_opened_again_and_again_has_its_messages_and_a_proper_end() {
    const CONNECTIONS: u64 = 4;
    for &engine in engines() {
        for messages in [1, 5] {
            let witness = Arc::new(Witness::default());
            let seen = Arc::clone(&witness);
            let request = Request {
                engine,
                discipline: churn(messages),
                ..server(move |stream| seen.echo(stream))
            };
            let mut counted = Counted {
                witness: &witness,
                seen: Vec::new(),
            };
            let load = watch(request, &mut counted);
            assert_right(&load);
            // Each may be on its way to the server when the window closes, and it opens some
            // time after the server's count was read off.
            let accepted = counted.seen[1] - counted.seen[0];
            let connected = decode(&load.histograms[Span::Connect]).len();
            assert!(
                (connected - CONNECTIONS..connected * 3 / 2).contains(&accepted),
                "{connected}, but the server saw {accepted}"
            );
            assert!(load.summary.connections.asked.abs_diff(connected) <= CONNECTIONS);
            assert!(load.summary.echoes.abs_diff(messages * connected) <= 2 * CONNECTIONS * messages);
            // The last ones are broken off when the run ends.
            let ended = witness.all_ended();
            let whole = { ended.iter() }.filter(|end| end.properly && end.bytes == messages * 64);
            assert!(
                whole.count() as u64 + CONNECTIONS >= ended.len() as u64,
                "{ended:?}"
            );
            assert!(ended.iter().all(|end| end.bytes <= messages * 64));
            assert!(connected > 2 * CONNECTIONS, "{connected}");
        }
    }
}

#[test]
fn idle_connections_are_open_to_the_end() {
    struct Closed(Option<Instant>);
    impl Observer for Closed {
        fn window_closed(&mut self) {
            self.0 = Some(Instant::now());
        }
    }
    for &engine in engines() {
        for discipline in [
            Loop::closed(),
            churn(2),
            Loop::open(200.0, millis(300), Arrivals::Constant),
            partly_open(50.0, millis(300), 1),
        ] {
            let witness = Arc::new(Witness::default());
            let seen = Arc::clone(&witness);
            let request = Request {
                engine,
                discipline,
                idle: 20,
                ..server(move |stream| seen.echo(stream))
            };
            let mut closed = Closed(None);
            let load = watch(request, &mut closed);
            assert_right(&load);
            assert_eq!(load.summary.connections.idle, 20);
            let mut silent = witness.all_ended();
            silent.retain(|end| end.bytes == 0 && Some(end.at) > closed.0);
            assert!(silent.len() >= 20, "{}", silent.len());
            assert!(silent.iter().all(|end| end.properly));
        }
    }
}

#[test]
fn several_threads_share_the_connections() {
    for &engine in engines() {
        let witness = Arc::new(Witness::default());
        let seen = Arc::clone(&witness);
        let load = run(Request {
            engine,
            connections: 7,
            threads: 3,
            ..server(move |stream| seen.echo(stream))
        });
        assert_right(&load);
        assert_eq!(load.summary.connections.answered, 7);
        let ended = witness.all_ended();
        assert_eq!(ended.len(), 7);
        assert!(ended.iter().all(|end| end.bytes > 0));
    }
}

#[derive(Default)]
struct Shown {
    calls: Vec<&'static str>,
    snapshots: Vec<Snapshot>,
}

impl Observer for Shown {
    fn window_opened(&mut self) {
        self.calls.push("opened");
    }

    fn wants_progress(&self) -> bool {
        true
    }

    fn progress(&mut self, snapshot: &Snapshot) {
        self.calls.push("progress");
        self.snapshots.push(*snapshot);
    }

    fn window_closed(&mut self) {
        self.calls.push("closed");
    }
}

#[test]
fn the_intervals_add_up_to_the_whole_and_are_shown_as_they_end() {
    for &engine in engines() {
        for discipline in [
            closed(3, Duration::ZERO),
            Loop::open(2000.0, millis(200), Arrivals::Poisson),
            churn(3),
            partly_open(300.0, millis(200), 2),
        ] {
            let mut shown = Shown::default();
            let request = Request {
                engine,
                discipline,
                duration: millis(200),
                ..server(echo)
            };
            let load = watch(request, &mut shown);
            assert_right(&load);
            let mut sum = histogram::empty();
            for interval in &load.intervals {
                sum += interval.latency.decode().unwrap();
            }
            assert_eq!(Some(&Encoded::new(&sum)), load.histograms.main());
            let echoes: u64 = load.intervals.iter().map(|interval| interval.echoes).sum();
            assert_eq!(echoes, load.summary.echoes);
            let length_s: f64 = load.intervals.iter().map(|interval| interval.duration_s).sum();
            assert!((length_s - load.window_s).abs() < 1e-6, "{length_s}");

            assert_eq!(shown.calls.first(), Some(&"opened"));
            assert_eq!(shown.calls.last(), Some(&"closed"));
            assert_eq!(shown.calls.len(), shown.snapshots.len() + 2);
            assert!(
                (1..20).contains(&shown.snapshots.len()),
                "{}",
                shown.snapshots.len()
            );
            for (number, (snapshot, interval)) in shown.snapshots.iter().zip(&load.intervals).enumerate() {
                assert_eq!(snapshot.elapsed, millis(10) * (number as u32 + 1));
                assert_eq!(snapshot.elapsed + snapshot.left, millis(200));
                let rate = interval.echoes as f64 / interval.duration_s;
                assert!((snapshot.echoes_per_s - rate).abs() <= 1e-6 * rate);
                assert_eq!(snapshot.errors, 0);
                assert!(snapshot.p99_us.is_none() || snapshot.p50_us <= snapshot.p99_us);
            }
        }
    }
}

#[test]
fn datagrams_go_in_both_loops() {
    for &engine in engines() {
        for discipline in [
            Loop::closed(),
            closed(1, millis(5)),
            Loop::open(2000.0, millis(300), Arrivals::Poisson),
        ] {
            let load = run(Request {
                engine,
                discipline,
                ..datagram_server(|_, message, send| send(message))
            });
            // A host that is busy for long loses the odd one.
            let lost = count(&load, ErrorKind::Lost) + count(&load, ErrorKind::Stale);
            assert_eq!(lost, load.summary.errors.values().sum::<u64>());
            assert!(load.summary.echoes > 10 && lost <= load.summary.echoes / 10);
            assert_eq!(load.summary.connections.answered, 4);
        }
    }
}

/// Raises a flag a while after the window has opened.
struct Stopper {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Option<Instant>>>,
}

impl Observer for Stopper {
    fn window_opened(&mut self) {
        let (stop, told) = (Arc::clone(&self.stop), Arc::clone(&self.told));
        thread::spawn(move || {
            thread::sleep(millis(100));
            *told.lock().unwrap() = Some(Instant::now());
            stop.store(true, Ordering::SeqCst);
        });
    }
}

/// That each of these ends when it is told to, over both engines at the same time.
fn assert_stop(disciplines: &[Loop], serve: fn(TcpStream)) {
    thread::scope(|scope| {
        for &engine in engines() {
            scope.spawn(move || {
                disciplines
                    .iter()
                    .for_each(|each| assert_stops(engine, each, serve))
            });
        }
    });
}

fn assert_stops(engine: Engine, discipline: &Loop, serve: fn(TcpStream)) {
    let plan = Request {
        engine,
        discipline: discipline.clone(),
        duration: Duration::from_secs(60),
        ..server(serve)
    }
    .validate()
    .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::default();
    let mut stopper = Stopper {
        stop: Arc::clone(&stop),
        told: Arc::clone(&told),
    };
    let load = loadgen::run(&plan, &mut stopper, &stop).unwrap();
    let took = told.lock().unwrap().unwrap().elapsed();
    assert!(took < Duration::from_secs(1), "{discipline:?} took {took:?}");
    assert!(load.window_s < 30.0 && !load.summary.is_valid());
    let first = &load.summary.reasons()[0];
    assert!(first.starts_with("interrupted"), "{first}");
}

#[test]
fn every_loop_ends_when_it_is_told_to() {
    let minute = Duration::from_secs(60);
    let disciplines = [
        Loop::closed(),
        closed(8, minute),
        churn(2),
        churn(1_000_000),
        Loop::open(1000.0, minute, Arrivals::Constant),
        Loop::open(0.1, minute, Arrivals::Poisson),
        partly_open(100.0, minute, 2),
        partly_open(0.1, minute, 2),
    ];
    assert_stop(&disciplines, echo);
}

#[test]
fn every_loop_ends_when_it_is_told_to_where_nothing_is_answered() {
    let minute = Duration::from_secs(60);
    let disciplines = [
        Loop::closed(),
        churn(2),
        Loop::open(1000.0, minute, Arrivals::Constant),
        partly_open(100.0, minute, 2),
    ];
    assert_stop(&disciplines, keep_silent);
}
