//! The harness: starts servers, loads them, measures their cost and tests their behaviour.
//!
//! A server is always another process: a fresh child for each trial, pinned to its own
//! processors and metered from outside. Programs that use this crate call
//! [`reexec::dispatch`] first in `main`, because they start themselves as servers.
//!
//! | to find | look in |
//! | --- | --- |
//! | what is measured | [`suite`], [`scenario`], [`own_load`], [`slicing`], [`participant`], [`external`], [`target`] |
//! | a run and its trials | [`run`], [`trial`], [`results`] |
//! | starting and ending servers | [`server`], [`reexec`] |
//! | readers of `/proc` | [`proc`] |
//! | the machine, and what is wrong with it | [`host`], [`doctor`] |
//! | the cases that every server must pass | [`conformance`] |
//! | memory of idle connections | [`idle_memory`] |

pub mod cli;
pub mod conformance;
pub mod doctor;
pub mod external;
pub mod host;
pub mod idle_memory;
pub mod names;
pub mod own_load;
pub mod participant;
pub mod proc;
pub mod progress;
pub mod reexec;
pub mod results;
pub mod run;
pub mod scenario;
pub mod server;
pub mod slicing;
pub mod suite;
pub mod target;
pub mod trial;
