//! What the cases are written with.
//!
//! A [`Case`] declares its question, its setup and its exemptions, and drives a
//! [`ServerUnderTest`] with [`client`]s or [`script`]s, under [`faults`]; [`resources`] and
//! `/proc` show the effect. Nothing in here knows the list of cases.

pub mod background_load;
pub mod case;
pub mod client;
pub mod connecting;
pub mod exemption;
pub mod faults;
pub mod launch;
mod log;
pub mod payload;
pub mod player;
pub mod resources;
pub mod script;
pub mod server;
pub mod setup;
pub mod verified_stream;
pub mod wait;

pub use case::{Case, Drive};
pub use server::ServerUnderTest;
pub use setup::{Scale, Settings, Unsupported};
