//! Proofs of the generator in virtual time: exact, and independent of the host.

mod conservation;
mod loops;
mod simulation;
mod stalls;
