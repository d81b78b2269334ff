//! The Docker engine: one GET over its socket (HTTP/1.0: the engine closes, no chunks).

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::known::Known;
use crate::{Error, Result};

/// An answer longer than this is not the engine's.
const MAX_ANSWER: u64 = 16 << 20;
/// The engine is on this host: it answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Known {
    /// The name of a network's bridge: as it was asked for, else made from the network's id.
    fn bridge(&self) -> String {
        let id = self.id();
        let name = self.text(&["Options", "com.docker.network.bridge.name"]);
        name.map_or_else(|| format!("br-{}", id.get(..12).unwrap_or(id)), str::to_owned)
    }

    fn isolates(&self) -> bool {
        self.text(&["Driver"]) == Some("bridge")
            && self.text(&["Options", "com.docker.network.bridge.enable_icc"]) == Some("false")
    }
}

/// Whether the engine keeps the containers on this bridge of its namespace from each other
/// (`enable_icc=false`). Without an engine nobody does.
pub fn isolates(bridge: &str) -> Result<bool> {
    match list("/networks") {
        Err(Error::Engine { gone: true, .. }) => Ok(false),
        networks => {
            Ok(networks?.iter().any(|network| network.isolates() && network.bridge() == bridge))
        }
    }
}

/// Its containers, also those that do not run.
pub fn containers() -> Result<Vec<Known>> {
    list("/containers/json?all=1")
}

/// What the engine lists.
fn list(path: &str) -> Result<Vec<Known>> {
    let socket = socket()?;
    let failed = |why: String| Error::Engine { socket: socket.clone(), why, gone: false };
    let answer = get(&socket, path).map_err(|error| {
        let gone = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
        Error::Engine { socket: socket.clone(), why: error.to_string(), gone }
    })?;
    let body = body(&answer).map_err(|why| failed(why.into()))?;
    Known::all(body).map_err(failed)
}

/// The engine's socket: `DOCKER_HOST` if it names one, else the usual place.
fn socket() -> Result<PathBuf> {
    match std::env::var("DOCKER_HOST") {
        Ok(host) => match host.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None => Err(Error::Engine {
                socket: host.into(),
                why: "DOCKER_HOST is not a unix:// socket, and only containers of this host can be joined".into(),
                gone: true,
            }),
        },
        Err(_) => Ok("/var/run/docker.sock".into()),
    }
}

fn get(socket: &PathBuf, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The body of a 200.
fn body(answer: &[u8]) -> std::result::Result<&[u8], &'static str> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("its answer is not HTTP")?;
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let status = head.split(|b| *b == b' ').nth(1).ok_or("its answer is not HTTP")?;
    match status {
        b"200" => Ok(body),
        _ => Err("it refuses the request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_networks() {
        let network = |json| serde_json::from_str::<Known>(json).expect("a network");
        let named = r#"{"Id": "f00", "Driver": "bridge",
            "Options": {"com.docker.network.bridge.name": "docker0", "com.docker.network.bridge.enable_icc": "false"}}"#;
        assert_eq!(network(named).bridge(), "docker0");
        assert!(network(named).isolates());
        let plain = r#"{"Id": "0123456789abcdef", "Driver": "bridge", "Options": null}"#;
        assert_eq!(network(plain).bridge(), "br-0123456789ab");
        assert!(!network(plain).isolates());
    }

    #[test]
    fn answers() {
        let ok = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}";
        assert_eq!(body(ok), Ok(&b"{}"[..]));
        let refused = b"HTTP/1.0 404 Not Found\r\n\r\n{\"message\":\"no\"}";
        for bad in [
            &b""[..],
            refused,
            b"\r\n\r\n",
            b"HTTP/1.0 500 x\r\n\r\n",
            b"garbage",
            b"HTTP/1.0 200 OK\r\n",
        ] {
            assert!(body(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
