//! How the kernel manages memory: swap, huge pages.

use record::numbers::bytes;

use super::check::{Check, Finding};
use super::needs::Needs;
use super::root::Root;

/// Whether memory has been moved to a disk.
pub const SWAP: Check = Check {
    name: "swap",
    read_from: "/proc/swaps",
    why: "a page that was moved to a disk takes milliseconds to come back, and is missing in the memory of a server",
    affects: "high percentiles, memory",
    in_a_run: |_| true,
    look: swap,
};

/// Whether the kernel gives huge pages unasked.
pub const HUGE_PAGES: Check = Check {
    name: "transparent huge pages",
    read_from: "/sys/kernel/mm/transparent_hugepage/enabled",
    why: "a stack or a buffer of which one byte is used may take 2 MiB",
    affects: "memory of connections, most of models with a thread or a large buffer for each",
    in_a_run: |_| true,
    look: huge_pages,
};

fn swap(root: &Root, _: &Needs) -> Finding {
    let Some(text) = root.text("/proc/swaps") else {
        return Finding::unknown("this kernel does not tell");
    };
    let mut lines = text.lines();
    let is_table = lines.next().is_some_and(|head| head.starts_with("Filename"));
    let used: Option<Vec<u64>> = lines
        .map(|line| line.split_whitespace().nth(3)?.parse().ok())
        .collect();
    match used.filter(|_| is_table) {
        None => Finding::unknown("the table of swap areas is not one that is understood"),
        Some(areas) if areas.is_empty() => Finding::good("none"),
        Some(areas) => match areas.iter().sum::<u64>() {
            0 => Finding::good("nothing in it"),
            kib => Finding::note(format!("{} in it", bytes(kib.saturating_mul(1024))))
                .mend_kernel(root, "swapoff -a"),
        },
    }
}

fn huge_pages(root: &Root, _: &Needs) -> Finding {
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let text = root.text(FILE).unwrap_or_default();
    // The one in brackets counts.
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    match chosen.map(|(chosen, _)| chosen) {
        Some("always") => {
            Finding::note("always").mend_kernel(root, &format!("echo madvise | sudo tee {FILE}"))
        }
        Some(asked @ ("madvise" | "never")) => Finding::good(asked),
        _ => Finding::unknown("this kernel does not tell"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Host, command, host, needs};
    use super::*;
    use record::HostState::*;

    const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    #[test]
    fn swap_is_worth_knowing_when_there_is_something_in_it() {
        let needs = needs(&["epoll"], 1);
        let swaps = |rows: &str| host("/proc/swaps", &format!("{HEAD}{rows}"));
        assert_eq!(swaps("").state(&SWAP, &needs), Good);
        let row = |used| format!("/swap file\t8388604\t\t{used}\t\t-2\n");
        assert_eq!(
            swaps(&"/swapfile file 8388604 0 -2\n".repeat(2)).state(&SWAP, &needs),
            Good
        );
        let found = swaps(&row(2048).repeat(2)).check(&SWAP, &needs);
        assert_eq!((found.state, found.found.as_str()), (Note, "4\u{a0}MiB in it"));
        assert_eq!(command(&found), "swapoff -a");
    }

    #[test]
    fn a_table_that_is_none_is_not_known() {
        let needs = needs(&["epoll"], 1);
        for garbled in [
            "",
            "no table\n",
            "Filename\nx y\n",
            "Filename\n/swap file 1 many -2\n",
        ] {
            assert_eq!(
                host("/proc/swaps", garbled).state(&SWAP, &needs),
                Unknown,
                "{garbled:?}"
            );
        }
    }

    #[test]
    fn huge_pages_unasked_are_a_note() {
        let needs = needs(&["thread"], 1);
        let chosen = |text| host("/sys/kernel/mm/transparent_hugepage/enabled", text);
        let found = chosen("[always] madvise never\n").check(&HUGE_PAGES, &needs);
        assert_eq!(found.state, Note);
        assert!(command(&found).starts_with("echo madvise"));
        assert_eq!(
            chosen("always [madvise] never\n").state(&HUGE_PAGES, &needs),
            Good
        );
        assert_eq!(
            chosen("always madvise [never]\n").state(&HUGE_PAGES, &needs),
            Good
        );
        for garbled in ["always", "[sometimes]", "["] {
            assert_eq!(chosen(garbled).state(&HUGE_PAGES, &needs), Unknown);
        }
        assert_eq!(Host::with(&[]).state(&HUGE_PAGES, &needs), Unknown);
    }
}
