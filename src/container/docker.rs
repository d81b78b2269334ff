//! The Docker engine: one GET over its socket (HTTP/1.0: the engine closes, no chunks).

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

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
    let path = socket()?;
    let on = |source| Error::Engine { socket: path.clone(), why: source };
    let answer = get(&path, &format!("/containers/{name}/json")).map_err(|e| on(e.to_string()))?;
    let Some(body) = body(&answer).map_err(|why| on(why.into()))? else { return Ok(None) };
    let found: Inspect = serde_json::from_slice(body).map_err(|e| on(e.to_string()))?;
    if found.state.pid == 0 {
        return Err(Error::NotRunning { name: name.into() });
    }
    Ok(Some(Running { name: found.name.trim_start_matches('/').into(), pid: found.state.pid }))
}

/// Whether an engine can be asked at all.
pub fn present() -> bool {
    socket().is_ok_and(|path| path.exists())
}

/// The engine's socket: `DOCKER_HOST` if it names one, else the usual place.
fn socket() -> Result<PathBuf> {
    match std::env::var("DOCKER_HOST") {
        Ok(host) => match host.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None => Err(Error::Engine {
                socket: host.into(),
                why: "DOCKER_HOST is not a unix:// socket, and only containers of this host can be joined".into(),
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
