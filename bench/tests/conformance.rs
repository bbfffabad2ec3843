//! One test per case and model, from the registries of both.

use std::env;
use std::process::ExitCode;

use bench::conformance::{self, CASES, Case, Outcome, SEED, SEED_VARIABLE, Scale, Settings};
use bench::participant::Participant;
use bench::reexec;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use servers::models::{MODELS, Model};

/// Tests that run at the same time, whatever the number of processors: each keeps two processes
/// busy for a part of its time, and none may become so late that it misses a time limit.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    if let Some(status) = reexec::dispatch() {
        return status;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let seed = match env::var_os(SEED_VARIABLE).map(|text| conformance::seed(&text.to_string_lossy())) {
        Some(Ok(seed)) => seed,
        Some(Err(error)) => {
            eprintln!("{SEED_VARIABLE}: {error:#}");
            return ExitCode::FAILURE;
        }
        None => SEED,
    };
    let full = CASES.iter().filter(|case| case.has_full_form());
    let quick = CASES.iter().map(|case| (case, Scale::Quick));
    let trials = quick
        .chain(full.map(|case| (case, Scale::Full)))
        .map(|(case, scale)| (case, Settings { scale, seed }))
        .flat_map(|(case, settings)| MODELS.iter().map(move |model| trial(case, *model, settings)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(case: &'static Case, model: &'static dyn Model, settings: Settings) -> Trial {
    let title = format!("{} {}", case.id(), case.name());
    let title = title.to_lowercase().replace([' ', '-'], "_");
    let name = match settings.scale {
        Scale::Quick => format!("{title}::{}", model.name()),
        Scale::Full => format!("{title}::{}::full", model.name()),
    };
    // Full forms take up to minutes; `-- --ignored` runs them.
    Trial::ignorable_test(name.clone(), move || judge(&name, case, model, settings))
        .with_ignored_flag(settings.scale == Scale::Full)
}

fn judge(
    name: &str,
    case: &Case,
    model: &'static dyn Model,
    settings: Settings,
) -> Result<Completion, Failed> {
    match conformance::run(case, &Participant::Model(model), settings).outcome {
        Outcome::Pass { .. } => Ok(Completion::Completed),
        Outcome::Fail { evidence } => Err(evidence.into()),
        // Only by an exemption that the case declares.
        Outcome::NotApplicable { reason } => {
            println!("{name} is not applicable: {reason}");
            Ok(Completion::Completed)
        }
        Outcome::Skipped { reason } => Ok(Completion::ignored_with(reason)),
    }
}
