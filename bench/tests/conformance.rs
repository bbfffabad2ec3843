//! One test per case and model, over the registries of both.

use std::env;
use std::process::ExitCode;

use bench::conformance::{self, CASES, Case, Outcome, SEED, SEED_VARIABLE, Scale, Settings, Subject};
use bench::reexec;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use servers::models::{MODELS, Model};

/// Tests run at once, however many processors there are: each keeps two processes busy
/// for a part of its time, and none may be so late that a bound is missed.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    if let Some(status) = reexec::dispatch() {
        return status;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let seed = match env::var(SEED_VARIABLE).map(|text| conformance::seed(&text)) {
        Ok(Ok(seed)) => seed,
        Ok(Err(error)) => {
            eprintln!("{SEED_VARIABLE}: {error:#}");
            return ExitCode::FAILURE;
        }
        Err(_) => SEED,
    };
    let full = CASES.iter().filter(|case| case.has_full_scale());
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
    // At full scale a case takes up to minutes: they are run by `-- --ignored`.
    Trial::ignorable_test(name.clone(), move || judge(&name, case, model, settings))
        .with_ignored_flag(settings.scale == Scale::Full)
}

fn judge(name: &str, case: &Case, model: &dyn Model, settings: Settings) -> Result<Completion, Failed> {
    match conformance::run(case, &Subject::model(model), settings).outcome {
        Outcome::Pass { .. } => Ok(Completion::Completed),
        Outcome::Fail { evidence } => Err(evidence.into()),
        // Only a case that names the design can come to this.
        Outcome::NotApplicable { reason } => {
            println!("{name} is not applicable: {reason}");
            Ok(Completion::Completed)
        }
        Outcome::Skipped { reason } => Ok(Completion::ignored_with(reason)),
    }
}
