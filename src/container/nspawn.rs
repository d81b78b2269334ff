//! systemd-nspawn: what a machine is called.

use std::path::Path;

use crate::Result;
use crate::sys::{file, netns};

/// One has some ten lines.
const MOST: u64 = 64 << 10;
/// The options that take a value, of those with one letter: systemd-nspawn(1).
const WITH_VALUE: &str = "DELMSZipu";

/// What the machine with this first process is called: where it is registered, by that; else by the command
/// line of its monitor.
pub fn machine(monitor: &[String], first: u32) -> Result<Option<String>> {
    for path in netns::entries("/run/systemd/machines")? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Links to machines by their unit, and files that are being written.
        if name.starts_with("unit:") || name.starts_with('.') {
            continue;
        }
        let Some(text) = file::read(&path, MOST)? else { continue };
        if leader(&path, &String::from_utf8_lossy(&text))? == first {
            return Ok(Some(name.into()));
        }
    }
    Ok(on_line(monitor))
}

/// The first process, as systemd-machined writes it.
fn leader(path: &Path, text: &str) -> Result<u32> {
    let leader = text.lines().find_map(|line| line.strip_prefix("LEADER=")?.parse().ok());
    leader.ok_or_else(|| file::malformed(path, "it has no line LEADER=PID"))
}

/// `--machine`, or else the name of the folder or the image.
fn on_line(line: &[String]) -> Option<String> {
    let mut root = None;
    let mut words = line.iter().skip(1).map(String::as_str);
    let mut may_be_value = false;
    while let Some(word) = words.next() {
        let (option, value) = match word.strip_prefix("--") {
            Some("") => break,
            Some(long) => match long.split_once('=') {
                Some((option, value)) => (letter(option), Some(value)),
                None => (letter(long), None),
            },
            None => short(word),
        };
        // What is neither option nor value is the container's command, with options of its own.
        if !word.starts_with('-') && !std::mem::take(&mut may_be_value) {
            break;
        }
        let mut value = || value.or_else(|| words.next());
        match option {
            Some('M') => return value().map(str::to_owned),
            Some('D' | 'i') => root = value(),
            Some(_) => drop(value()),
            None => may_be_value = word.starts_with("--") && !word.contains('='),
        }
    }
    let name = Path::new(root?).file_name()?.to_str()?;
    Some(name.strip_suffix(".raw").unwrap_or(name).into())
}

fn letter(long: &str) -> Option<char> {
    match long {
        "machine" => Some('M'),
        "directory" => Some('D'),
        "image" => Some('i'),
        _ => None,
    }
}

/// The one in `-qbM` that takes a value, and that if it follows at once.
fn short(word: &str) -> (Option<char>, Option<&str>) {
    let Some(letters) = word.strip_prefix('-') else { return (None, None) };
    match letters.split_once(|c| WITH_VALUE.contains(c)) {
        Some((before, value)) => {
            (letters[before.len()..].chars().next(), Some(value).filter(|value| !value.is_empty()))
        }
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Option<String> {
        on_line(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn by_its_command_line() {
        for line in [
            "systemd-nspawn -M web",
            "systemd-nspawn -D /srv/other -M web",
            "systemd-nspawn -qbMweb -D /srv/other",
            "systemd-nspawn -bqD /srv/other --machine=web",
            "systemd-nspawn --machine web --directory /srv/other",
            "systemd-nspawn --quiet --keep-unit --boot --link-journal=try-guest --network-veth -U \
             --settings=override --machine=web",
            "systemd-nspawn -D /srv/web",
            "systemd-nspawn -D/srv/web/",
            "systemd-nspawn --directory=/srv/web --bind /data program -M other",
            "systemd-nspawn -u me -i /srv/web.raw -- -M other",
            "systemd-nspawn -D /srv/web -E M=1 -xq program -D other",
        ] {
            assert_eq!(called(line).as_deref(), Some("web"), "{line}");
        }
        for line in [
            "",
            "systemd-nspawn",
            "systemd-nspawn -D",
            "systemd-nspawn -D /",
            "x -M",
            "x -- -M web",
        ] {
            assert_eq!(called(line), None, "{line}");
        }
    }

    #[test]
    fn the_leader() {
        let text = "# This is private data. Do not parse.\nNAME=web\nSCOPE=machine-web.scope\n\
                    SERVICE=systemd-nspawn\nROOT=/srv/web\nLEADER=5098\nCLASS=container\nNETIF=2\n";
        let leader = |text| leader(Path::new("/run/systemd/machines/web"), text);
        assert_eq!(leader(text).ok(), Some(5098));
        for bad in ["", "LEADER=", "LEADER=-1", "LEADER=99999999999", "leader=1", "\0"] {
            let error = leader(bad).expect_err(bad).to_string();
            assert!(error.starts_with("/run/systemd/machines/web: it has no line"), "{error}");
        }
    }
}
