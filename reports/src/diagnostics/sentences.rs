//! The sentences of the diagnostics.

use std::fmt::{self, Display, Formatter};

use record::finding::TAKEN;
use record::numbers::{number, thousands};
use record::words::{counted, list, plain_line, show_micros};
use record::{Placement, processors};

use crate::format::percent;
use crate::values::DISTURBED;

use super::diagnostic::{Diagnostic, ENOUGH_BLOCKS, Found, Place, QuotaSide, UNSTEADY, is_recorded};
use super::host;

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.scenario, list(&self.servers))
    }
}

impl Display for Diagnostic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Diagnostic::Trials {
                measured,
                invalid,
                failed,
                skipped,
            } => write_trials(f, *measured, *invalid, *failed, *skipped),
            Diagnostic::Blocks { complete, planned } => write_blocks(f, *complete, *planned),
            Diagnostic::Found(found) => write_found(f, found),
            Diagnostic::Processors(placement) => write_processors(f, placement),
            Diagnostic::Generator {
                highest,
                saturated,
                held_up,
                throttled,
                disturbed,
            } => match [saturated, held_up, throttled].iter().all(|places| places.is_empty()) {
                true => write_unsaturated(f, *highest, *disturbed),
                false => write_generator(f, *highest, saturated, held_up, throttled),
            },
            Diagnostic::KeptWaiting {
                most,
                trials: 0,
                measured: _,
                places: _,
                shared: _,
            } => write!(
                f,
                "It was ready to run and had no processor for at most {} of a window.",
                percent(*most)
            ),
            Diagnostic::KeptWaiting {
                most,
                trials,
                measured,
                places,
                shared,
            } => {
                let others = if *shared { "the server or other programs" } else { "other programs" };
                write!(
                    f,
                    "In {} ({}) it was ready to run and had no processor for more than {} of the window, up to {}: \
                     {others} ran on its processors. The servers seem slower than they are.",
                    of_trials(*trials, *measured),
                    places_in_words(places),
                    percent(TAKEN),
                    percent(*most)
                )
            }
            Diagnostic::Steal { most } => write!(
                f,
                "The hypervisor took up to {} of the generator's processors in a window.",
                percent(*most)
            ),
            Diagnostic::Quota { generator, server } => write_quota(f, generator.as_ref(), server.as_ref()),
            Diagnostic::Unanswered {
                messages,
                trials,
                places,
            } => write!(
                f,
                "{} that were due had no answer when the run ended, in {} ({}); they are missing at the upper end of \
                 the latencies.",
                counted(usize::try_from(*messages).unwrap_or(usize::MAX), "message"),
                counted(*trials, "trial"),
                places_in_words(places)
            ),
            Diagnostic::Reconnects {
                lost,
                reopened,
                longest_s,
                trials,
                places,
            } => write!(
                f,
                "In {} ({}) {} were lost and {} opened again, with up to {} from a loss to the next answer.",
                counted(*trials, "trial"),
                places_in_words(places),
                counted(usize::try_from(*lost).unwrap_or(usize::MAX), "connection"),
                thousands(*reopened as f64),
                show_micros(longest_s * 1e6)
            ),
            Diagnostic::Starved { most, trials, places } => write!(
                f,
                "In {} ({}) some connections, and those that replaced them, were never answered: up to {}.",
                counted(*trials, "trial"),
                places_in_words(places),
                thousands(*most as f64)
            ),
            Diagnostic::BusyPolls => f.write_str(
                "The generator busy-polls, so its utilisation does not show whether it was the limit.",
            ),
            Diagnostic::Spread { known: false, .. } => {
                f.write_str("No server has two valid trials, so the spread is unknown.")
            }
            Diagnostic::Spread { unsteady, .. } => write_spread(f, unsteady),
            Diagnostic::OtherPrograms {
                share,
                disturbed,
                slices,
                steal,
                pressure,
            } => {
                match share {
                    Some(share) => write_other_programs(f, *share, *disturbed, *slices)?,
                    None => f.write_str("This host does not tell what other programs used of the processors.")?,
                }
                if let Some(steal) = steal {
                    write!(f, " The hypervisor took {}.", percent(*steal))?;
                }
                if let Some(pressure) = pressure {
                    write!(
                        f,
                        " In {} of the time some task waited for a processor, perhaps one of the servers.",
                        percent(*pressure)
                    )?;
                }
                Ok(())
            }
            Diagnostic::Network {
                remote,
                unix,
                mixed: false,
            } if remote.is_empty() => write!(
                f,
                "Server and generator ran on the same host over {}: no network card, no wire, no loss.",
                if unix.is_empty() { "loopback" } else { "a Unix socket" }
            ),
            Diagnostic::Network {
                remote,
                unix,
                mixed: true,
            } => {
                let (some, path, others) = match (remote.is_empty(), unix.is_empty()) {
                    (true, _) => (unix, "a Unix socket", "over loopback"),
                    (false, true) => (remote, "a network", "over loopback"),
                    (false, false) => (remote, "a network", "on the same host"),
                };
                write!(
                    f,
                    "{} {} measured over {path} and the others {others}: their ratios compare the paths as well as \
                     the servers.",
                    list(some),
                    if some.len() == 1 { "was" } else { "were" }
                )
            }
            Diagnostic::Network { .. } => f.write_str(
                "The server's address is not a loopback address: every latency includes the network in between.",
            ),
            Diagnostic::Errors { count, examples } => {
                let errors = counted(usize::try_from(*count).unwrap_or(usize::MAX), "error");
                match examples.as_slice() {
                    [] => write!(f, "{errors} in the whole run."),
                    some => write!(f, "{errors} in the whole run: {}.", shortened(some)),
                }
            }
            Diagnostic::WakeUp => f.write_str(
                "The generator sleeps between events. Its own wake-up, some tens of microseconds on a virtual \
                 machine, is part of every latency.",
            ),
            Diagnostic::VirtualMachine { hypervisor } => write!(
                f,
                "The host is a virtual machine ({hypervisor}): other guests may have taken time that does not \
                 show here."
            ),
            Diagnostic::HostFinding { text, .. } => f.write_str(text),
            Diagnostic::HostChecked { state, names } => f.write_str(&host::checked(*state, names)),
            Diagnostic::Frequency { governor } => write!(
                f,
                "The frequency governor is {governor}, so the clock rate may have followed the load."
            ),
        }
    }
}

fn write_trials(
    f: &mut Formatter<'_>,
    measured: usize,
    invalid: usize,
    failed: usize,
    skipped: usize,
) -> fmt::Result {
    if measured == 0 {
        return write!(
            f,
            "No trial was measured; {failed} failed and {skipped} were skipped."
        );
    }
    let all = counted(measured, "trial");
    if failed + skipped + invalid == 0 {
        return write!(f, "{all} measured, all valid; none failed, none was skipped.");
    }
    let parts = [
        (invalid, "not valid and left out"),
        (failed, "failed"),
        (skipped, "skipped"),
    ];
    let parts = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"));
    write!(f, "{all} measured; {}.", list(&parts.collect::<Vec<_>>()))
}

fn write_blocks(f: &mut Formatter<'_>, complete: u32, planned: u32) -> fmt::Result {
    match complete {
        0 => write!(
            f,
            "No block is complete in every scenario ({planned} planned). Ratios use the blocks that both servers \
             have."
        ),
        1 => f.write_str("One block gives no interval, so no difference can be shown to be real."),
        _ if complete < planned => write!(
            f,
            "{complete} of {planned} blocks are complete in every scenario, which widens the intervals."
        ),
        _ if planned < ENOUGH_BLOCKS => write!(
            f,
            "All {planned} blocks are complete; five or more give narrower intervals."
        ),
        _ => write!(f, "All {planned} blocks are complete."),
    }
}

fn write_processors(f: &mut Formatter<'_>, placement: &Placement) -> fmt::Result {
    let (server, generator) = (cpus(&placement.server_cpus), cpus(&placement.generator_cpus));
    if placement.shared() {
        write!(
            f,
            "Server and generator shared processors ({server}) and took time from each other: the ranking of the \
             servers may hold elsewhere, the absolute numbers do not."
        )
    } else if is_recorded(placement) {
        write!(f, "The server ran on {server}, the generator on {generator}.")
    } else if !placement.generator_cpus.is_empty() {
        write!(
            f,
            "The generator ran on {generator}; the processors of servers that were running already are not known."
        )
    } else {
        f.write_str("The processors of server and generator are not recorded.")
    }
}

/// Processors by number: `processors 0 and 1`.
pub fn cpus(numbers: &[usize]) -> String {
    let each: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    match each.as_slice() {
        [] => "no specific processor".into(),
        [one] => format!("processor {one}"),
        some => format!("processors {}", list(some)),
    }
}

/// `12 of 140 trials`.
fn of_trials(some: usize, all: usize) -> String {
    format!("{} of {}", thousands(some as f64), counted(all, "trial"))
}

fn places_in_words(places: &[Place]) -> String {
    shortened(&places.iter().map(Place::to_string).collect::<Vec<_>>())
}

fn write_found(f: &mut Formatter<'_>, found: &Found) -> fmt::Result {
    let worst = match found.trials {
        1 => "",
        _ => ", at worst",
    };
    write!(
        f,
        "In {} ({}){worst}: {}.",
        of_trials(found.trials, found.measured),
        places_in_words(&found.places),
        // It may quote text from outside.
        plain_line(&found.worst.to_string())
    )
}

fn write_quota(
    f: &mut Formatter<'_>,
    generator: Option<&QuotaSide>,
    server: Option<&QuotaSide>,
) -> fmt::Result {
    let throttled = { generator.iter().chain(&server) }.any(|side| side.throttled > 0);
    let had = |side: &QuotaSide| format!("had a quota of {}", processors(side.worst.quota));
    let did = |side: &QuotaSide, what: &str| match side.throttled {
        0 => format!("which did not throttle {what}"),
        some => {
            let trials = of_trials(some, side.trials);
            format!("which throttled {what} in {trials}, at worst {}", side.worst)
        }
    };
    let generator = generator.map(|side| format!("The generator {}, {}.", had(side), did(side, "it")));
    let servers = server.map(|side| format!("The servers {}, {}.", had(side), did(side, "them")));
    let sides: Vec<String> = generator.into_iter().chain(servers).collect();
    write!(f, "{}", sides.join(" "))?;
    match throttled {
        false => Ok(()),
        true => f.write_str(
            " Both share a quota if they are in one cgroup; raise or remove it, or the numbers are those of the quota.",
        ),
    }
}

fn write_unsaturated(f: &mut Formatter<'_>, highest: f64, disturbed: bool) -> fmt::Result {
    let conclusion = match disturbed {
        true => "but other findings show that it was held up in some trials",
        false => "so it was not the limit",
    };
    write!(
        f,
        "At most {}% busy on average, {conclusion}.",
        number(highest * 100.0)
    )
}

fn write_generator(
    f: &mut Formatter<'_>,
    highest: f64,
    saturated: &[Place],
    held_up: &[Place],
    throttled: &[Place],
) -> fmt::Result {
    let percent = number(highest * 100.0);
    let places = |places: &[Place]| list(&places.iter().map(Place::to_string).collect::<Vec<_>>());
    write!(f, "Up to {percent}% busy")?;
    if !saturated.is_empty() {
        write!(f, ": it was the limit in {}", places(saturated))?;
    }
    if !held_up.is_empty() {
        write!(
            f,
            "; other programs on its processors held it up in {}",
            places(held_up)
        )?;
    }
    if !throttled.is_empty() {
        write!(f, "; a processor quota throttled it in {}", places(throttled))?;
    }
    f.write_str(
        ". These servers may be faster than shown, and ties between them may only show the limit of the generator.",
    )
}

fn write_spread(f: &mut Formatter<'_>, unsteady: &[(String, String)]) -> fmt::Result {
    let limit = ((UNSTEADY - 1.0) * 100.0).round();
    if unsteady.is_empty() {
        return write!(
            f,
            "No throughput interval spans more than {limit}% from end to end."
        );
    }
    let each: Vec<String> = unsteady
        .iter()
        .map(|(server, scenario)| format!("{server} in {scenario}"))
        .collect();
    write!(
        f,
        "The throughput interval spans more than {limit}% for {}.",
        shortened(&each)
    )
}

fn write_other_programs(f: &mut Formatter<'_>, share: f64, disturbed: usize, slices: usize) -> fmt::Result {
    write!(
        f,
        "Programs that are neither server nor generator used {} of their processors. In {} of {} slices they used \
         more than {}; ",
        percent(share),
        thousands(disturbed as f64),
        thousands(slices as f64),
        percent(DISTURBED),
    )?;
    f.write_str(match disturbed {
        0 => "nothing is left out of the comparison.",
        _ => {
            "such slices are left out of the comparison, unless they are most of a server's slices in a block. The numbers in \
             the tables have all slices."
        }
    })
}

/// A list that names only the first few.
fn shortened(names: &[String]) -> String {
    const NAMED: usize = 6;
    match names.len() {
        count if count > NAMED => format!("{} and {} more", names[..NAMED].join(", "), count - NAMED),
        _ => list(names),
    }
}
