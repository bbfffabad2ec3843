//! The memory of idle connections, measured on the two kinds of model that differ most.

use std::process::ExitCode;

use bench::idle_memory::{self, MemoryPlan};
use bench::reexec;
use libtest_mimic::{Arguments, Failed, Trial};
use servers::models;

const CONNECTIONS: usize = 50;

fn main() -> ExitCode {
    if let Some(status) = reexec::dispatch() {
        return status;
    }
    let mut arguments = Arguments::from_args();
    // PSS divides the pages of this executable between the servers that run at one time.
    arguments.test_threads = Some(1);
    let trials = vec![
        Trial::test("an_idle_thread_costs_memory_but_less_than_a_mebibyte", || {
            let bytes = per_connection("thread")?;
            check(bytes > 0.0 && bytes < 1_048_576.0, "thread", bytes)
        }),
        Trial::test(
            "an_idle_connection_of_an_event_loop_costs_less_than_its_buffer",
            || {
                let bytes = per_connection("epoll")?;
                check(bytes < 65_536.0, "epoll", bytes)
            },
        ),
        Trial::test(
            "a_model_that_serves_one_client_at_a_time_is_refused",
            || match per_connection("iterative") {
                Err(error) if error.to_string().contains("1 at a time") => Ok(()),
                other => Err(format!("{other:?}").into()),
            },
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn per_connection(model: &str) -> anyhow::Result<f64> {
    let model = models::find(model).ok_or_else(|| anyhow::anyhow!("no such model"))?;
    let plan = MemoryPlan {
        connections: CONNECTIONS,
        message_bytes: 64,
        repetitions: 1,
        log: "/dev/null".as_ref(),
    };
    Ok(idle_memory::measure(model, &plan)?.median_bytes())
}

fn check(plausible: bool, model: &str, bytes: f64) -> Result<(), Failed> {
    match plausible {
        true => Ok(()),
        false => Err(format!("{model}: {bytes} bytes per idle connection").into()),
    }
}
