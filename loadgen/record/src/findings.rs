//! All findings about a load, and what follows from them together.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::{Effect, Fault, Finding};

/// What the gates found. A record holds the findings, and beside them what follows from them:
/// `valid`, `reasons` and `latency_withheld`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written", into = "Written")]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Whether the load is valid.
    pub fn is_valid(&self) -> bool {
        self.reasons().next().is_none()
    }

    /// Why the load is not valid.
    pub fn reasons(&self) -> impl Iterator<Item = &Finding> {
        self.with(Effect::Invalidates)
    }

    /// Why the latencies should not be compared with others.
    pub fn withheld(&self) -> impl Iterator<Item = &Finding> {
        self.with(Effect::WithholdsLatencies)
    }

    /// What else should be known.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.with(Effect::Noted)
    }

    /// What the generator or its host did wrong, if anything: then a load that misses an
    /// objective shows nothing about the server.
    pub fn generator_fault(&self) -> Option<&Finding> {
        let is_fault = |finding: &&Finding| finding.fault() == Fault::Generator;
        self.iter()
            .filter(is_fault)
            .find(|finding| finding.effect() != Effect::Noted)
    }

    /// All findings.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    fn with(&self, effect: Effect) -> impl Iterator<Item = &Finding> {
        self.iter().filter(move |finding| finding.effect() == effect)
    }
}

/// The reasons, one after the other.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let reasons: Vec<_> = self.reasons().map(Finding::to_string).collect();
        f.write_str(&reasons.join("; "))
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        Findings(findings.into_iter().collect())
    }
}

impl<const N: usize> From<[Finding; N]> for Findings {
    fn from(findings: [Finding; N]) -> Self {
        Findings(findings.into())
    }
}

/// The fields of a record.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Written {
    /// Whether the load is valid: no finding invalidates it.
    valid: bool,
    /// Why the load is not valid: the findings that invalidate it, in words.
    reasons: Vec<String>,
    /// Why the latencies should not be compared with others, in words; absent if they can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency_withheld: Option<String>,
    /// What the gates found; the three fields above follow from it. Absent before schema
    /// version 4.
    #[serde(default)]
    findings: Option<Vec<Finding>>,
}

impl From<Findings> for Written {
    fn from(findings: Findings) -> Self {
        let withheld = findings.withheld().map(Finding::to_string);
        Written {
            valid: findings.is_valid(),
            reasons: findings.reasons().map(Finding::to_string).collect(),
            latency_withheld: withheld.reduce(|all, next| all + "; " + &next),
            findings: Some(findings.0),
        }
    }
}

impl From<Written> for Findings {
    fn from(written: Written) -> Self {
        let withheld = { written.latency_withheld.into_iter() }.map(|text| Finding::Withheld { text });
        let findings = written.findings.map_or_else(|| withheld.collect(), Findings);
        if written.valid || !findings.is_valid() {
            return findings;
        }
        let mut reasons = written.reasons;
        if reasons.is_empty() {
            reasons.push("the record gives no reason".into());
        }
        let reasons = reasons.into_iter().map(|text| Finding::Reason { text });
        reasons.chain(findings.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttling::Throttling;
    use serde_json::json;

    fn saturated() -> Finding {
        Finding::Saturated { utilisation: 0.97 }
    }

    fn part(found: Finding) -> Finding {
        Finding::OfPart {
            part: "a.json".into(),
            found: Box::new(found),
        }
    }

    fn withheld(text: &str) -> Finding {
        Finding::Withheld { text: text.into() }
    }

    #[test]
    fn no_findings_are_valid() {
        let none = Findings::default();
        assert!(none.is_valid() && none.generator_fault().is_none());
        let expected = json!({ "valid": true, "reasons": [], "findings": [] });
        assert_eq!(serde_json::to_value(none).unwrap(), expected);
    }

    #[test]
    fn what_only_withholds_latencies_does_not_invalidate() {
        let findings = Findings::from([part(withheld("one")), withheld("other")]);
        assert!(findings.is_valid());
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["latency_withheld"], "a.json: one; other");
        assert_eq!(json["valid"], true);
    }

    #[test]
    fn what_is_only_noted_neither_invalidates_nor_is_a_fault() {
        let noted = Finding::Throttled {
            throttling: Throttling::default(),
            late: false,
        };
        let findings = Findings::from([noted.clone()]);
        assert!(findings.is_valid() && findings.generator_fault().is_none());
        assert_eq!(findings.notes().collect::<Vec<_>>(), [&noted]);
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["latency_withheld"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<Findings>(json).unwrap(), findings);
    }

    #[test]
    fn what_follows_is_written_and_the_findings_are_read() {
        let findings = Findings::from([Finding::NoEchoes, part(saturated())]);
        assert_eq!(findings.generator_fault(), Some(&part(saturated())));
        let mut json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["valid"], false);
        assert_eq!(json["reasons"][0], Finding::NoEchoes.to_string());
        json["valid"] = true.into();
        assert_eq!(serde_json::from_value::<Findings>(json).unwrap(), findings);
    }

    #[test]
    fn older_records_have_only_sentences() {
        let read = |json| serde_json::from_value::<Findings>(json).unwrap();
        let reason = |text: &str| Finding::Reason { text: text.into() };
        let both = read(json!({ "valid": false, "reasons": ["one", "two"], "latency_withheld": "three" }));
        assert_eq!(both, [reason("one"), reason("two"), withheld("three")].into());
        assert_eq!(read(json!({ "valid": true, "reasons": [] })), Findings::default());
        assert!(!read(json!({ "valid": false, "reasons": [] })).is_valid());
    }

    #[test]
    fn a_load_that_is_not_valid_stays_so_if_no_finding_explains_it() {
        let read = |json| serde_json::from_value::<Findings>(json).unwrap();
        assert!(!read(json!({ "valid": false, "reasons": [], "findings": [] })).is_valid());
        let latencies_only = serde_json::to_value(withheld("two")).unwrap();
        let both = read(json!({ "valid": false, "reasons": ["one"], "findings": [latencies_only] }));
        let reason = Finding::Reason { text: "one".into() };
        assert_eq!(both, [reason, withheld("two")].into());
    }
}
