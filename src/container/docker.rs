//! The Docker engine: a GET over its socket (HTTP/1.0: the engine closes, no chunks).

use std::cell::OnceCell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::json::Json;
use super::known::Known;
use crate::sys::socket::connect;
use crate::{Error, Result};

/// An answer longer than this is not the engine's.
const MAX_ANSWER: usize = 16 << 20;
/// The engine is on this host: it answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The engine; it is asked for each thing once, also when it does not answer: who asks may keep others waiting.
#[derive(Default)]
pub struct Docker {
    containers: OnceCell<Answer>,
    networks: OnceCell<Answer>,
}

/// What it says, or why it does not.
type Answer = std::result::Result<Json, Failure>;

#[derive(Clone)]
struct Failure {
    why: String,
    /// There is no engine.
    gone: bool,
}

impl Failure {
    /// It answers, but that is not what was asked for.
    fn nonsense(why: impl ToString) -> Self {
        Self { why: why.to_string(), gone: false }
    }

    fn error(&self) -> Error {
        Error::Engine { socket: socket(), why: self.why.clone(), gone: self.gone }
    }
}

impl Docker {
    /// Whether the engine keeps the containers on this bridge of its namespace from each other
    /// (`enable_icc=false`). Without an engine nobody does; of a bridge that is called as one of its own it can't
    /// be told then: containers may outlive the engine.
    pub fn isolates(&self, bridge: &str) -> Result<bool> {
        match self.networks.get_or_init(|| get("/networks")) {
            Err(Failure { gone: true, .. }) if !is_dockers(bridge) => Ok(false),
            Err(Failure { gone: true, .. }) => Err(Error::NotAllowed {
                name: bridge.into(),
                why: "it is called as Docker's are, whose engine does not answer, so that nobody tells whether its containers are kept from each other (enable_icc=false): start Docker, or join with --force",
            }),
            Err(failure) => Err(failure.error()),
            Ok(networks) => Ok(networks.list().iter().any(|network| isolates_on(network, bridge))),
        }
    }

    /// Its containers, also those that do not run.
    pub fn containers(&self) -> Result<Vec<Known>> {
        let answer = self.containers.get_or_init(|| get("/containers/json?all=1"));
        let list = answer.as_ref().map_err(Failure::error)?;
        let known = Known::all(list, "Id", "Names");
        known.ok_or_else(|| Failure::nonsense("it lists no containers").error())
    }
}

/// Whether Docker would give this name to a bridge.
fn is_dockers(bridge: &str) -> bool {
    let id = bridge.strip_prefix("br-").unwrap_or_default();
    bridge == "docker0" || id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether this network is the one on the bridge, and keeps its containers from each other.
fn isolates_on(network: &Json, bridge: &str) -> bool {
    let options = network.at("Options");
    network.at("Driver").text() == Some("bridge")
        && options.at("com.docker.network.bridge.enable_icc").text() == Some("false")
        && match options.at("com.docker.network.bridge.name").text() {
            Some(name) => name == bridge,
            // Else it is made from the network's id.
            None => {
                let id = network.at("Id").text().and_then(|id| id.get(..12));
                id.is_some() && bridge.strip_prefix("br-") == id
            }
        }
}

/// What the engine answers.
fn get(path: &str) -> Answer {
    let answer = exchange(path).map_err(|error| {
        let gone = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
        Failure { why: error.to_string(), gone }
    })?;
    serde_json::from_slice(body(&answer).map_err(Failure::nonsense)?).map_err(Failure::nonsense)
}

/// The engine's socket: `DOCKER_HOST` if it names one, else the usual place.
fn socket() -> PathBuf {
    match std::env::var("DOCKER_HOST") {
        Ok(host) => host.strip_prefix("unix://").unwrap_or(&host).into(),
        Err(_) => "/var/run/docker.sock".into(),
    }
}

/// In time, or not at all.
fn exchange(path: &str) -> std::io::Result<Vec<u8>> {
    let until = Instant::now() + TIMEOUT;
    let mut stream = ask(path)?;
    let (mut answer, mut bytes) = (Vec::new(), [0; 1 << 14]);
    while answer.len() < MAX_ANSWER {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        stream.set_read_timeout(Some(left.ok_or(ErrorKind::TimedOut)?))?;
        match stream.read(&mut bytes)? {
            0 => break,
            len => answer.extend(bytes.iter().take(len)),
        }
    }
    Ok(answer)
}

/// Asks; the answer is to be read.
fn ask(path: &str) -> std::io::Result<UnixStream> {
    let socket = socket();
    if !socket.is_absolute() {
        let why = "only a unix:// socket of this host can be asked";
        return Err(std::io::Error::new(ErrorKind::NotFound, why));
    }
    let mut stream = connect(&socket, TIMEOUT)?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n").as_bytes())?;
    Ok(stream)
}

/// The engine's notices that a container has started, or has another name, as they come.
#[derive(Debug)]
pub struct Events(UnixStream);

impl Events {
    /// From now on; `None` if there is no engine that tells.
    pub fn listen() -> Option<Self> {
        // {"type":["container"],"event":["start","rename"]}
        let path = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C\
                    %22event%22%3A%5B%22start%22%2C%22rename%22%5D%7D";
        let stream = ask(path).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Self(stream))
    }

    /// Takes some of what has come, whatever it is. Says whether more may come.
    pub fn take(&mut self) -> bool {
        let mut bytes = [0; 1 << 14];
        match self.0.read(&mut bytes) {
            Ok(len) => len > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The body of a 200.
pub(super) fn body(answer: &[u8]) -> std::result::Result<&[u8], &'static str> {
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
    fn networks_that_keep_containers_apart() {
        let isolates = |network: &str, bridge| {
            isolates_on(&serde_json::from_str(network).expect("a network"), bridge)
        };
        let named = r#"{"Id": "f00", "Driver": "bridge",
            "Options": {"com.docker.network.bridge.name": "docker0", "com.docker.network.bridge.enable_icc": "false"}}"#;
        assert!(isolates(named, "docker0"));
        assert!(
            !isolates(named, "docker1") && !isolates(&named.replace("false", "true"), "docker0")
        );
        assert!(!isolates(&named.replace(r#""bridge","#, r#""ipvlan","#), "docker0"));
        let plain = r#"{"Id": "0123456789abcdef", "Driver": "bridge",
            "Options": {"com.docker.network.bridge.enable_icc": "false"}}"#;
        assert!(isolates(plain, "br-0123456789ab") && !isolates(plain, "br-1123456789ab"));
        for other in ["{}", r#"{"Id": "0123456789abcdef", "Driver": "bridge", "Options": null}"#] {
            assert!(!isolates(other, "br-0123456789ab"));
        }
    }

    #[test]
    fn names_of_bridges() {
        let theirs = is_dockers;
        assert!(theirs("docker0") && theirs("br-0123456789ab"));
        for other in
            ["br0", "br-lan", "br-0123456789abc", "br-0123456789ag", "docker1", "0123456789ab"]
        {
            assert!(!theirs(other), "{other}");
        }
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
