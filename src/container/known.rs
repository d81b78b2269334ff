//! What engines list: containers and networks, in Docker's words or in podman's.

use serde::Deserialize;

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
