//! Rates that change over time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text_form::text_form;
use crate::units::{Rate, Time, UnitError};

/// A part of a schedule, in which the rate changes linearly: `30s@50k/s`, `10s@1k/s..50k/s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// How long it lasts.
    pub duration: Time,
    /// The rate at its begin.
    pub from: Rate,
    /// The rate at its end.
    pub to: Rate,
}

/// One or more stages, one after the other: `10s@1k/s..50k/s,30s@50k/s`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stages(Vec<Stage>);

text_form!(Stages, "stages such as 10s@1k/s..50k/s,30s@50k/s");

/// Why a text does not describe stages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// Not `TIME@RATE`.
    #[error(
        "`{0}` is not a stage: give a time and a rate, such as 30s@50k/s, or a ramp, such as 10s@1k/s..50k/s"
    )]
    Form(String),
    /// The time or a rate is wrong.
    #[error("in the stage `{stage}`: {error}")]
    Unit {
        /// The stage.
        stage: String,
        /// What is wrong with it.
        error: UnitError,
    },
    /// A stage without a duration.
    #[error("the stage `{0}` has no time: give it more than 0s")]
    NoTime(String),
}

impl Stages {
    /// Stages one after the other; `None` if there are none.
    pub fn new(stages: Vec<Stage>) -> Option<Self> {
        (!stages.is_empty()).then_some(Stages(stages))
    }

    /// The stages in order; there is at least one.
    pub fn list(&self) -> &[Stage] {
        &self.0
    }

    /// How long all stages last together.
    pub fn duration(&self) -> Duration {
        let durations = self.0.iter().map(|stage| stage.duration.0);
        durations.fold(Duration::ZERO, Duration::saturating_add)
    }
}

impl FromStr for Stages {
    type Err = StageError;

    fn from_str(text: &str) -> Result<Self, StageError> {
        text.split(',')
            .map(|stage| stage.trim().parse())
            .collect::<Result<_, _>>()
            .map(Stages)
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        for (index, stage) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(out, "{separator}{stage}")?;
        }
        Ok(())
    }
}

impl FromStr for Stage {
    type Err = StageError;

    fn from_str(text: &str) -> Result<Self, StageError> {
        let wrong = |error| StageError::Unit {
            stage: text.into(),
            error,
        };
        let (time, rates) = text
            .split_once('@')
            .ok_or_else(|| StageError::Form(text.into()))?;
        let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
        let duration: Time = time.parse().map_err(wrong)?;
        if duration.0.is_zero() {
            return Err(StageError::NoTime(text.into()));
        }
        Ok(Stage {
            duration,
            from: from.parse().map_err(wrong)?,
            to: to.parse().map_err(wrong)?,
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}@{}", self.duration, self.from)?;
        if self.to != self.from {
            write!(out, "..{}", self.to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_times_and_rates() {
        let stage = |seconds, from, to| Stage {
            duration: Time(Duration::from_secs_f64(seconds)),
            from: Rate::new(from).unwrap(),
            to: Rate::new(to).unwrap(),
        };
        let table = [
            ("30s@50k/s", vec![stage(30.0, 50e3, 50e3)]),
            ("10s@1k/s..50k/s", vec![stage(10.0, 1e3, 50e3)]),
            ("1m30s@1M/s..0.5/s", vec![stage(90.0, 1e6, 0.5)]),
            (
                " 250ms@10/s , 2h@2.5k/s..5k/s,1s@5k/s",
                vec![
                    stage(0.25, 10.0, 10.0),
                    stage(7200.0, 2500.0, 5000.0),
                    stage(1.0, 5e3, 5e3),
                ],
            ),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), Ok(Stages(expected)), "{text}");
        }
    }

    #[test]
    fn an_invalid_stage_is_refused_and_named() {
        let table = [
            ("", "`` is not a stage"),
            ("10s", "`10s` is not a stage"),
            ("50k/s", "`50k/s` is not a stage"),
            ("10s@1k/s,", "`` is not a stage"),
            ("10s@1k/s;20s@2k/s", "is not a rate"),
            ("10@1k/s", "in the stage `10@1k/s`: `10` is not a time"),
            ("@1k/s", "is not a time"),
            ("10s@1k", "`1k` is not a rate"),
            ("10s@", "`` is not a rate"),
            ("10s@1k/s..", "`` is not a rate"),
            ("10s@..1k/s", "`` is not a rate"),
            ("10s@1k/s..2k/s..3k/s", "`2k/s..3k/s` is not a rate"),
            ("10s@0/s", "`0/s` is not a rate"),
            ("10s@1k/s..0/s", "`0/s` is not a rate"),
            ("1s@1k/s,0s@1k/s", "`0s@1k/s` has no time"),
        ];
        for (text, hint) in table {
            let error = text.parse::<Stages>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
