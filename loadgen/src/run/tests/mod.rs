//! Proofs of the generator in virtual time: exact, and independent of the host.

mod simulation;

use simulation::Simulation;

#[test]
fn a_closed_loop_runs() {
    let load = Simulation::new().load();
    println!("{:?}", load.summary);
    assert_eq!(load.summary.echoes, 8000);
    assert!(load.summary.valid, "{:?}", load.summary.reasons);
}
