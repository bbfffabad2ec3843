//! Proofs of the generator in virtual time: exact, and independent of the host.

mod boundaries;
mod connections;
mod conservation;
mod gates;
mod loops;
mod queue;
mod reconnect;
mod silence;
mod simulation;
mod slices;
mod stalls;
mod unfinished;
