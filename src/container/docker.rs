//! The Docker engine: one GET over its socket (HTTP/1.0: the engine closes, no chunks).

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::known::Known;
use crate::{Error, Result};

/// An answer longer than this is not the engine's.
const MAX_ANSWER: u64 = 4 << 20;
/// The engine is on this host: it answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What we ask of a container (`GET /containers/{name}/json`).
#[derive(Deserialize)]
struct Inspect {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "State")]
    state: State,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "Pid")]
    pid: u32,
}

/// A running container.
#[derive(Debug, PartialEq, Eq)]
pub struct Running {
    /// The engine's name for it, without the leading slash.
    pub name: String,
    /// Its first process.
    pub pid: u32,
}

/// The container with this name or id; `None` if the engine knows none.
pub fn inspect(name: &str) -> Result<Option<Running>> {
    let Some(found) = ask::<Inspect>(&format!("/containers/{name}/json"))? else { return Ok(None) };
    if found.state.pid == 0 {
        return Err(Error::NotRunning {
            name: format!("docker:{name}"),
            start: format!("docker start {name}"),
        });
    }
    Ok(Some(Running { name: found.name.trim_start_matches('/').into(), pid: found.state.pid }))
}

/// Whether the engine knows a container by this name or id. Without an engine nobody does.
pub fn knows(name: &str) -> Result<bool> {
    match inspect(name) {
        _ if !present() => Ok(false),
        Err(Error::Engine { gone: true, .. }) => Ok(false),
        Err(Error::NotRunning { .. }) => Ok(true),
        found => Ok(found?.is_some()),
    }
}

/// Those that run; none if there is no engine.
pub fn all() -> Result<Vec<Known>> {
    if !present() {
        return Ok(Vec::new());
    }
    match ask("/containers/json") {
        Err(Error::Engine { gone: true, .. }) => Ok(Vec::new()),
        answer => Ok(answer?.unwrap_or_default()),
    }
}

/// What we ask of a network (`GET /networks`).
#[derive(Deserialize)]
struct Network {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Driver")]
    driver: String,
    #[serde(rename = "Options")]
    options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(rename = "com.docker.network.bridge.name")]
    name: Option<String>,
    #[serde(rename = "com.docker.network.bridge.enable_icc")]
    enable_icc: Option<String>,
}

impl Network {
    /// The name of its bridge: as it was asked for, else made from the network's id.
    fn bridge(&self) -> String {
        let id = self.id.get(..12).unwrap_or(&self.id);
        let name = self.options.as_ref().and_then(|options| options.name.clone());
        name.unwrap_or_else(|| format!("br-{id}"))
    }

    fn isolates(&self) -> bool {
        let icc = self.options.as_ref().and_then(|options| options.enable_icc.as_deref());
        icc == Some("false")
    }
}

/// Whether the engine keeps the containers on this bridge of its namespace from each other
/// (`enable_icc=false`). Without an engine nobody does.
pub fn isolates(bridge: &str) -> Result<bool> {
    if !present() {
        return Ok(false);
    }
    let networks: Vec<Network> = match ask("/networks") {
        Err(Error::Engine { gone: true, .. }) => return Ok(false),
        answer => answer?.unwrap_or_default(),
    };
    let mut ours = networks.iter().filter(|network| network.driver == "bridge");
    Ok(ours.any(|network| network.bridge() == bridge && network.isolates()))
}

/// Whether an engine can be asked at all.
pub fn present() -> bool {
    socket().is_ok_and(|path| path.exists())
}

/// What the engine answers; `None` if it knows no such thing.
fn ask<T: DeserializeOwned>(path: &str) -> Result<Option<T>> {
    let socket = socket()?;
    let failed = |why: String| Error::Engine { socket: socket.clone(), why, gone: false };
    let answer = get(&socket, path).map_err(|error| {
        let gone = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
        Error::Engine { socket: socket.clone(), why: error.to_string(), gone }
    })?;
    let body = body(&answer).map_err(|why| failed(why.into()))?;
    body.map(serde_json::from_slice).transpose().map_err(|error| failed(error.to_string()))
}

/// The engine's socket: `DOCKER_HOST` if it names one, else the usual place.
fn socket() -> Result<PathBuf> {
    match std::env::var("DOCKER_HOST") {
        Ok(host) => match host.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None => Err(Error::Engine {
                socket: host.into(),
                why: "DOCKER_HOST is not a unix:// socket, and only containers of this host can be joined".into(),
                gone: false,
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

/// The body of a 200; `None` for a 404.
fn body(answer: &[u8]) -> std::result::Result<Option<&[u8]>, &'static str> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("its answer is not HTTP")?;
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let status = head.split(|b| *b == b' ').nth(1).ok_or("its answer is not HTTP")?;
    match status {
        b"200" => Ok(Some(body)),
        b"404" => Ok(None),
        _ => Err("it refuses the request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_networks() {
        let network = |json| serde_json::from_str::<Network>(json).expect("a network");
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
        assert_eq!(body(ok), Ok(Some(&b"{}"[..])));
        assert_eq!(body(b"HTTP/1.0 404 Not Found\r\n\r\n{\"message\":\"no\"}"), Ok(None));
        for bad in
            [&b""[..], b"\r\n\r\n", b"HTTP/1.0 500 x\r\n\r\n", b"garbage", b"HTTP/1.0 200 OK\r\n"]
        {
            assert!(body(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
