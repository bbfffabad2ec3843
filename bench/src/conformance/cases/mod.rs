//! The registry of cases.

mod c01_exact;
mod c02_half_close;
mod c03_second_client;
mod c04_early_reset;
mod c05_close_while_writing;
mod c06_simultaneous_closes;
mod c07_signals;
mod c08_accept_errors;
mod c09_out_of_descriptors;
mod c10_out_of_processes;
mod c11_worker_killed;
mod c12_master_killed;
mod c13_drain;
mod c14_queue_at_stop;
mod c15_peer_gone;
mod c16_never_reads;
mod c17_slow_reader;
mod c18_backlog_overflow;
mod c19_high_descriptors;
mod c20_idle_crowd;
mod c21_signal_queue;
mod c22_burst;
mod c23_freeze;
mod c24_restart;
mod c25_fairness;
mod c26_churn;
mod c27_datagrams;
mod c29_random_walk;
mod c30_soak;

use super::kit::Case;

/// Every case, in the order of the tables. C28 is no case of its own: it stands for the servers
/// with bugs in the tests of this package, on which the cases must fail.
pub static CASES: &[Case] = &[
    c01_exact::CASE,
    c02_half_close::CASE,
    c03_second_client::CASE,
    c04_early_reset::CASE,
    c05_close_while_writing::CASE,
    c06_simultaneous_closes::CASE,
    c07_signals::CASE,
    c08_accept_errors::CASE,
    c09_out_of_descriptors::CASE,
    c10_out_of_processes::CASE,
    c11_worker_killed::CASE,
    c12_master_killed::CASE,
    c13_drain::CASE,
    c14_queue_at_stop::CASE,
    c15_peer_gone::CASE,
    c16_never_reads::CASE,
    c17_slow_reader::CASE,
    c18_backlog_overflow::CASE,
    c19_high_descriptors::CASE,
    c20_idle_crowd::CASE,
    c21_signal_queue::CASE,
    c22_burst::CASE,
    c23_freeze::CASE,
    c24_restart::CASE,
    c25_fairness::CASE,
    c26_churn::CASE,
    c27_datagrams::CASE,
    c29_random_walk::CASE,
    c30_soak::CASE,
];

/// Finds a case by its id or name.
pub fn find(id: &str) -> Option<&'static Case> {
    CASES
        .iter()
        .find(|case| case.id().eq_ignore_ascii_case(id) || case.name() == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::kit::exemption::{Kind, kinds};
    use crate::participant::Participant;
    use servers::models;
    use std::collections::HashSet;

    #[test]
    fn ids_and_names_are_unique() {
        let ids: HashSet<_> = CASES.iter().map(Case::id).collect();
        let names: HashSet<_> = CASES.iter().map(Case::name).collect();
        assert_eq!((ids.len(), names.len()), (CASES.len(), CASES.len()));
        for case in CASES {
            assert!(case.question().ends_with('?'), "{}", case.id());
        }
    }

    #[test]
    fn a_case_is_found_by_id_or_name() {
        assert_eq!(find("c13").map(Case::name), Some("drain"));
        assert_eq!(find("exact").map(Case::id), Some("C1"));
        assert!(find("C0").is_none());
    }

    #[test]
    fn a_case_without_a_udp_form_exempts_udp_servers_and_only_such_a_case() {
        for case in CASES {
            let reason = case.exemption(&[Kind::Datagram]);
            assert_eq!(case.applies_to_udp(), reason.is_none(), "{}", case.id());
        }
    }

    fn exemption(id: &str, model: &str) -> Option<&'static str> {
        let model = Participant::Model(models::find(model).unwrap());
        find(id).unwrap().exemption(&kinds(&model))
    }

    #[test]
    fn the_first_matching_exemption_gives_the_reason() {
        assert!(exemption("C11", "udp").unwrap().contains("no connections"));
    }

    #[test]
    fn a_case_applies_unless_it_exempts_a_kind_of_the_server() {
        assert!(exemption("C11", "epoll").is_some());
        assert_eq!(exemption("C11", "prefork"), None);
        assert_eq!(exemption("C1", "udp"), None);
    }
}
