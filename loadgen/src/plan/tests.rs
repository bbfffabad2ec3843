use super::*;

fn checked(plan: &Plan) -> Result<CheckedPlan, PlanError> {
    CheckedPlan::new(plan, "127.0.0.1:7007".parse().unwrap())
}

/// The plan of a TOML-like list of fields.
fn plan(fields: serde_json::Value) -> Plan {
    serde_json::from_value(fields).unwrap()
}

macro_rules! plan {
    ($($field:tt)*) => { plan(serde_json::json!({ $($field)* })) };
}

#[test]
fn the_default_plan_can_be_carried_out() {
    let checked = checked(&Plan::default()).unwrap();
    assert_eq!((checked.connections, checked.threads, checked.depth), (64, 1, 1));
    assert_eq!((checked.loop_kind, checked.pace), (LoopKind::Closed, None));
    assert_eq!(checked.duration, Duration::from_secs(10));
}

#[test]
fn what_cannot_be_carried_out_is_refused() {
    let table = [
        (
            plan! { "connections": 0 },
            PlanError::Zero("the number of connections"),
        ),
        (plan! { "threads": 0 }, PlanError::Zero("the number of threads")),
        (
            plan! { "messages_per_connection": 0 },
            PlanError::Zero("the number of messages per connection"),
        ),
        (
            plan! { "connections": 4, "threads": 5 },
            PlanError::IdleThreads {
                threads: 5,
                connections: 4,
            },
        ),
        (plan! { "size": "0B" }, PlanError::MessageSize(0)),
        (
            plan! { "size": "uniform:1B..1GiB" },
            PlanError::MessageSize(1 << 30),
        ),
        (plan! { "depth": 0 }, PlanError::Depth(0)),
        (plan! { "duration": "0s" }, PlanError::Duration(Duration::ZERO)),
        (
            plan! { "warmup": "24h" },
            PlanError::Duration(Duration::from_secs(10)),
        ),
        (
            plan! { "connect_timeout": "0s" },
            PlanError::ConnectTimeout(Duration::ZERO),
        ),
        (
            plan! { "udp": true, "answer_timeout": "0s" },
            PlanError::AnswerTimeout(Duration::ZERO),
        ),
        (
            plan! { "think": "25h" },
            PlanError::Think(Duration::from_secs(25 * 3600)),
        ),
        (plan! { "rate": "20M/s" }, PlanError::Rate(2e7)),
        (
            plan! { "rate": "0.01/s" },
            PlanError::NothingDue(Duration::from_secs(10)),
        ),
        (plan! { "engine": "mixed" }, PlanError::MixedEngine),
        (
            plan! { "udp": true, "size": "uniform:8B..16B" },
            PlanError::DatagramSizes,
        ),
    ];
    for (plan, error) in table {
        assert_eq!(checked(&plan).err(), Some(error), "{plan:?}");
    }
}

/// The fields of a contradiction are named as they are typed.
#[test]
fn contradictions_are_refused_and_named() {
    let table = [
        (plan! { "rate": "1k/s", "stages": "1s@1k/s" }, ["rate", "stages"]),
        (
            plan! { "rate": "1k/s", "connect_rate": "1/s" },
            ["rate", "connect_rate"],
        ),
        (
            plan! { "stages": "1s@1k/s", "connect_rate": "1/s" },
            ["stages", "connect_rate"],
        ),
        (
            plan! { "stages": "1s@1k/s", "duration": "1s" },
            ["stages", "duration"],
        ),
        (
            plan! { "connect_rate": "1/s", "connections": 5 },
            ["connect_rate", "connections"],
        ),
        (plan! { "arrivals": "poisson" }, ["arrivals", "connect_rate"]),
        (plan! { "rate": "1k/s", "depth": 2 }, ["depth", "rate"]),
        (plan! { "stages": "1s@1k/s", "depth": 2 }, ["depth", "stages"]),
        (
            plan! { "connect_rate": "1/s", "depth": 2 },
            ["depth", "connect_rate"],
        ),
        (plan! { "rate": "1k/s", "think": "1s" }, ["think", "rate"]),
        (
            plan! { "rate": "1k/s", "messages_per_connection": 1 },
            ["messages_per_connection", "rate"],
        ),
        (
            plan! { "stages": "1s@1k/s", "messages_per_connection": 1 },
            ["messages_per_connection", "stages"],
        ),
        (plan! { "answer_timeout": "1s" }, ["answer_timeout", "udp"]),
        (
            plan! { "udp": true, "connect_timeout": "1s" },
            ["connect_timeout", "udp"],
        ),
        (
            plan! { "udp": true, "connect_rate": "1/s" },
            ["connect_rate", "udp"],
        ),
        (
            plan! { "udp": true, "messages_per_connection": 1 },
            ["messages_per_connection", "udp"],
        ),
        (plan! { "udp": true, "idle": 1 }, ["idle", "udp"]),
        (plan! { "udp": true, "lines": true }, ["lines", "udp"]),
        (plan! { "udp": true, "depth": 2 }, ["depth", "udp"]),
        (plan! { "udp": true, "reconnect": true }, ["reconnect", "udp"]),
        (
            plan! { "connect_rate": "1/s", "reconnect": true },
            ["reconnect", "connect_rate"],
        ),
        (
            plan! { "messages_per_connection": 9, "reconnect": true },
            ["reconnect", "messages_per_connection"],
        ),
    ];
    for (plan, fields) in table {
        let error = checked(&plan).unwrap_err().to_string();
        for field in fields {
            assert!(error.contains(&format!("`{field}`")), "{field}: {error}");
        }
    }
}

#[test]
fn a_partly_open_loop_has_poisson_arrivals_and_one_message_per_connection() {
    let sessions = checked(&plan! { "connect_rate": "500/s" }).unwrap();
    assert_eq!(sessions.loop_kind, LoopKind::PartlyOpen);
    assert_eq!(
        (sessions.connections, sessions.messages_per_connection),
        (0, Some(1))
    );
    assert!(sessions.most_connections > 0);
    let pace = sessions.pace.unwrap();
    assert_eq!(
        (pace.arrivals, pace.stages[0].from),
        (record::Arrivals::Poisson, 500.0)
    );
    let sessions =
        checked(&plan! { "connect_rate": "500/s", "arrivals": "constant", "think": "1s", "messages_per_connection": 9 })
            .unwrap();
    assert_eq!(sessions.pace.unwrap().arrivals, record::Arrivals::Constant);
    assert_eq!(
        (sessions.think, sessions.messages_per_connection),
        (Duration::from_secs(1), Some(9))
    );
}

#[test]
fn a_load_lasts_as_long_as_its_rate_is_asked_for_or_its_stages_are_together() {
    let steady = checked(&plan! { "rate": "50k/s", "duration": "3s" }).unwrap();
    let pace = steady.pace.unwrap();
    assert_eq!(
        (pace.arrivals, pace.is_steady()),
        (record::Arrivals::Constant, true)
    );
    assert_eq!(
        (steady.duration, pace.duration()),
        (Duration::from_secs(3), Duration::from_secs(3))
    );
    let stages = checked(&plan! { "stages": "10s@1k/s..5k/s,2s@5k/s" }).unwrap();
    assert_eq!(
        (stages.duration, stages.pace.unwrap().stages.len()),
        (Duration::from_secs(12), 2)
    );
}

#[test]
fn each_processor_has_a_thread_unless_threads_are_given() {
    let allowed = affinity::allowed().unwrap();
    let cpus = &allowed[..1];
    let threads = |plan| checked(&plan).unwrap().threads;
    assert_eq!(threads(plan! { "cpus": [cpus[0], cpus[0], cpus[0]] }), 3);
    assert_eq!(threads(plan! { "cpus": [cpus[0], cpus[0]], "threads": 1 }), 1);
    assert_eq!(threads(plan! { "threads": 2 }), 2);
}

#[test]
fn a_datagram_has_bounds_that_a_stream_does_not_have() {
    let of = |size: u64, udp| checked(&plan! { "size": format!("{size}B"), "udp": udp }).err();
    for size in [1, 7, 65_508, 64 << 20] {
        assert_eq!(of(size, false), None);
        assert_eq!(of(size, true), Some(PlanError::DatagramSize(size)));
    }
    for size in [8, 65_507] {
        assert_eq!(of(size, true), None);
    }
}

#[test]
fn too_many_connections_are_refused_with_the_limit_and_the_way_to_raise_it() {
    let error = checked(&plan! { "connections": usize::MAX, "idle": 3 }).unwrap_err();
    let PlanError::Descriptors(limits) = &error else {
        panic!("{error}")
    };
    assert!((limits.possible as u64) < limits.limit);
    let text = error.to_string();
    assert!(
        text.contains(&limits.limit.to_string()) && text.contains("ulimit -n"),
        "{text}"
    );
}

/// A record holds the plan with its defaults; the same load can be made from it.
#[test]
fn the_words_of_a_checked_plan_are_a_plan_that_is_checked_again() {
    for plan in [
        Plan::default(),
        plan! { "rate": "1k/s" },
        plan! { "stages": "1s@1k/s..2k/s,250ms@5/s", "arrivals": "poisson" },
        plan! { "connect_rate": "500/s" },
        plan! { "udp": true },
        plan! { "connections": 3, "depth": 7, "think": "1ms", "messages_per_connection": 2, "spin": true },
    ] {
        let first = checked(&plan).unwrap();
        let again = checked(first.words()).unwrap();
        assert_eq!(again.words(), first.words());
        assert_eq!((again.pace, again.duration), (first.pace, first.duration));
    }
}

#[test]
fn what_makes_no_sense_over_a_unix_socket_is_refused() {
    let over_unix = |plan: &Plan| CheckedPlan::new(plan, "unix:/tmp/echo.sock".parse().unwrap());
    assert!(over_unix(&Plan::default()).is_ok());
    let udp = Plan {
        udp: true,
        ..Plan::default()
    };
    let sources = Plan {
        sources: vec!["127.0.0.2".parse().unwrap()],
        ..Plan::default()
    };
    for (plan, refused) in [(udp, "udp"), (sources, "source")] {
        assert!(checked(&plan).is_ok(), "{refused}");
        let error = over_unix(&plan).unwrap_err();
        assert!(
            matches!(error, PlanError::OverUnix { field, .. } if field == refused),
            "{error}"
        );
    }
}
