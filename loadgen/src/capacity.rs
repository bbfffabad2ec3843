//! The highest rate at which a server meets its objectives.
pub mod search;
