//! One test per case and model, over the registries of both.

use std::process::ExitCode;

use bench::conformance::{self, CASES, Case, Outcome, Subject};
use bench::role;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use servers::models::{MODELS, Model};

/// Tests run at once, however many processors there are: each keeps two processes busy
/// for a part of its time, and none may be so late that a bound is missed.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    if let Some(status) = role::play() {
        return status;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let trials = CASES
        .iter()
        .flat_map(|case| MODELS.iter().map(move |model| trial(case, *model)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(case: &'static Case, model: &'static dyn Model) -> Trial {
    let title = format!("{} {}", case.id(), case.name());
    let name = format!(
        "{}::{}",
        title.to_lowercase().replace([' ', '-'], "_"),
        model.name()
    );
    Trial::ignorable_test(name.clone(), move || judge(&name, case, model))
}

fn judge(name: &str, case: &Case, model: &dyn Model) -> Result<Completion, Failed> {
    match conformance::run(case, &Subject::model(model)).outcome {
        Outcome::Pass => Ok(Completion::Completed),
        Outcome::Fail { evidence } => Err(evidence.into()),
        // Only a case that names the design can come to this.
        Outcome::NotApplicable { reason } => {
            println!("{name} is not applicable: {reason}");
            Ok(Completion::Completed)
        }
        Outcome::Skipped { reason } => Ok(Completion::ignored_with(reason)),
    }
}
