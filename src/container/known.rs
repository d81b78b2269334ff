//! What engines list: containers and networks, in Docker's words or in podman's.

use serde::Deserialize;

use crate::{Error, Result};

/// A container or a network.
#[derive(Deserialize, Debug)]
pub struct Known {
    /// 64 hexadecimal digits.
    #[serde(alias = "Id")]
    pub id: String,
    /// Of a container.
    #[serde(alias = "Names")]
    names: Option<Vec<String>>,
    /// Of a network.
    #[serde(rename = "Driver")]
    pub driver: Option<String>,
    /// Of a network.
    #[serde(rename = "Options")]
    pub options: Option<Options>,
}

/// How a network is to be.
#[derive(Deserialize, Debug)]
pub struct Options {
    /// What its bridge is to be called.
    #[serde(rename = "com.docker.network.bridge.name")]
    pub bridge: Option<String>,
    /// Whether its containers may talk.
    #[serde(rename = "com.docker.network.bridge.enable_icc")]
    pub enable_icc: Option<String>,
}

impl Known {
    /// A container's name. Docker's begin with a slash; with another in it, it is what a third container
    /// calls this one.
    pub fn name(&self) -> Option<&str> {
        let names = self.names.iter().flatten();
        names.map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/'))
    }
}

/// The container with this name or id, or whose id alone begins so.
pub fn called<'a>(text: &str, known: &'a [Known]) -> Result<Option<&'a Known>> {
    if let Some(known) = known.iter().find(|known| known.name() == Some(text)) {
        return Ok(Some(known));
    }
    let mut found = known.iter().filter(|known| known.id.starts_with(text));
    match (found.next(), found.next()) {
        (Some(one), Some(other)) => Err(Error::Ambiguous {
            name: text.into(),
            candidates: format!("{}, {}", one.id, other.id),
        }),
        (one, _) => Ok(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_their_words() {
        let docker = r#"[{"Id": "0123456789abcdef", "Names": ["/other/alias", "/web"], "Image": "i",
            "HostConfig": {"NetworkMode": "default"}}, {"Id": "f0", "Names": null}]"#;
        let podman = r#"[{"id": "0123456789abcdef", "names": ["web"], "layer": "l",
            "flags": {"ProcessLabel": "", "Volatile": true}}, {"id": "f0"}]"#;
        for text in [docker, podman] {
            let known: Vec<Known> = serde_json::from_str(text).expect("containers");
            assert_eq!(known[0].id, "0123456789abcdef");
            assert_eq!(known.iter().map(Known::name).collect::<Vec<_>>(), [Some("web"), None]);
        }
    }

    #[test]
    fn names_before_beginnings_of_ids() {
        let all: Vec<Known> = [("ab01", "web"), ("ab02", "ab"), ("cd03", "db"), ("ce", "c-1")]
            .map(|(id, name)| format!(r#"{{"id": "{id}", "names": ["{name}"]}}"#))
            .iter()
            .map(|text| serde_json::from_str(text).expect("a container"))
            .collect();
        let called = |text| called(text, &all).map(|found| found.map(|known| known.id.as_str()));
        for (text, id) in [
            ("web", Some("ab01")),
            ("ab", Some("ab02")),
            ("ab01", Some("ab01")),
            ("cd", Some("cd03")),
            ("x", None),
        ] {
            assert_eq!(called(text).expect("one or none"), id, "{text}");
        }
        let error = called("c").expect_err("two begin so").to_string();
        assert_eq!(error, "c is ambiguous: say which of cd03, ce");
    }
}
