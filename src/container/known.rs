//! What engines list: containers and networks, in Docker's words or in podman's.

use serde_json::Value;

/// A container or a network.
#[derive(Debug)]
pub struct Known(Value);

impl Known {
    /// All in an engine's answer, or in a file of its.
    pub fn all(text: &[u8]) -> std::result::Result<Vec<Self>, String> {
        match serde_json::from_slice(text) {
            Ok(Value::Array(all)) => Ok(all.into_iter().map(Self).collect()),
            Ok(_) => Err("it is no list".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        self.text(&["Id"]).or_else(|| self.text(&["id"])).unwrap_or_default()
    }

    /// What stands there.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        let mut value = &self.0;
        for key in path {
            value = value.get(key)?;
        }
        value.as_str()
    }

    /// A container's name. Docker's begin with a slash; with another in it, it is what a third container
    /// calls this one.
    pub fn name(&self) -> Option<&str> {
        let names = self.0.get("Names").or_else(|| self.0.get("names"))?.as_array()?;
        let mut names =
            names.iter().filter_map(|name| Some(name.as_str()?.trim_start_matches('/')));
        names.find(|name| !name.contains('/'))
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
}
