//! Criterion's arguments, as far as they matter to the suite that follows criterion.

use std::ffi::OsString;

use regex::Regex;

/// Options of criterion whose value is the next argument, which is then not the filter.
const WITH_VALUE: [&str; 20] = [
    "-b",
    "-c",
    "-s",
    "--baseline",
    "--baseline-lenient",
    "--color",
    "--colour",
    "--confidence-level",
    "--format",
    "--load-baseline",
    "--measurement-time",
    "--noise-threshold",
    "--nresamples",
    "--output-format",
    "--plotting-backend",
    "--profile-time",
    "--sample-size",
    "--save-baseline",
    "--significance-level",
    "--warm-up-time",
];

/// The words of the command line; the error names one that is not UTF-8, which no option and no filter is.
pub fn words(arguments: impl Iterator<Item = OsString>) -> Result<Vec<String>, String> {
    let refused = |argument| {
        format!("the argument {argument:?} is not UTF-8: `cargo bench -- --help` shows the options")
    };
    arguments
        .map(|argument| argument.into_string().map_err(refused))
        .collect()
}

/// The arguments. Criterion parses and checks them itself.
#[derive(Debug)]
pub struct Arguments {
    options: Vec<String>,
    filter: Option<Filter>,
}

#[derive(Debug)]
enum Filter {
    Exact(String),
    Pattern(Regex),
}

impl Arguments {
    /// Separates the options from the filter.
    pub fn of(arguments: Vec<String>) -> anyhow::Result<Self> {
        let (mut options, mut filter) = (Vec::new(), None);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if !argument.starts_with('-') {
                filter.get_or_insert(argument);
                continue;
            }
            if WITH_VALUE.contains(&argument.as_str()) {
                arguments.next();
            }
            let name = argument
                .split_once('=')
                .map_or(argument.as_str(), |(name, _)| name);
            options.push(name.to_owned());
        }
        let exact = options.iter().any(|option| option == "--exact");
        let filter = match filter {
            Some(name) if exact => Some(Filter::Exact(name)),
            Some(pattern) => Some(Filter::Pattern(Regex::new(&pattern)?)),
            None => None,
        };
        Ok(Arguments { options, filter })
    }

    /// Whether the filter selects a benchmark.
    pub fn selects(&self, name: &str) -> bool {
        match &self.filter {
            _ if self.has("--ignored") => false,
            None => true,
            Some(Filter::Exact(exact)) => exact == name,
            Some(Filter::Pattern(pattern)) => pattern.is_match(name),
        }
    }

    /// Whether there is a filter.
    pub fn filters(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether the benchmarks are only listed.
    pub fn lists(&self) -> bool {
        self.has("--list")
    }

    /// Whether something is measured, and not only listed, tested, profiled or loaded from
    /// saved results.
    pub fn measures(&self) -> bool {
        let other = ["--list", "--load-baseline", "--profile-time", "--test"];
        self.has("--bench") && !other.iter().any(|option| self.has(option))
    }

    /// Whether short measurements are enough.
    pub fn quick(&self) -> bool {
        self.has("--quick")
    }

    /// Whether criterion's own figures are asked for.
    pub fn draws(&self) -> bool {
        self.has("--plotting-backend")
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|found| found == option)
    }
}
