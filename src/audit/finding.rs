//! Findings: what was looked at, and whether it is as it should be.

use serde::Serialize;

/// Whether something is as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is.
    Ok,
    /// It is not.
    Deviates,
    /// The kernel does not let it be seen. That is not ok either.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What was looked at: `tag`.
    pub check: &'static str,
    /// Whether it is as it should be.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// Where it is not: what that means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<&'static str>,
    /// And what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

impl Finding {
    /// It is as it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), means: None, remedy: None }
    }

    /// It is not.
    pub fn deviates(
        check: &'static str,
        found: impl Into<String>,
        means: &'static str,
        remedy: &'static str,
    ) -> Self {
        let (means, remedy) = (Some(means), Some(remedy));
        Self { check, verdict: Verdict::Deviates, found: found.into(), means, remedy }
    }

    /// It can't be seen.
    pub fn unknown(
        check: &'static str,
        found: impl Into<String>,
        means: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::deviates(check, found, means, remedy) }
    }

    /// Just this, if nothing else was found.
    pub fn or_ok(findings: Vec<Self>, check: &'static str, found: String) -> Vec<Self> {
        if findings.is_empty() { vec![Self::ok(check, found)] } else { findings }
    }

    /// Whether it is as it should be.
    pub fn is_ok(&self) -> bool {
        self.verdict == Verdict::Ok
    }
}
