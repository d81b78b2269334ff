//! podman: what its storage says of names, as there is no daemon to be asked.
//!
//! `containers.json`, and `volatile-containers.json` for those of `--rm`, in a folder for each storage driver: of the
//! usual storage, and of wherever a monitor keeps its container.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::known::Known;
use super::name::Name;
use super::running::{Container, after};
use crate::sys::{file, netns};
use crate::{Error, Result};

/// A container takes some hundred bytes.
const MOST: u64 = 16 << 20;

/// Those it knows, running or not.
pub fn containers(running: &[Container]) -> Result<Vec<Known>> {
    let mut folders: Vec<PathBuf> = netns::entries("/var/lib/containers/storage")?;
    for container in running {
        for folder in kept_in(container) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    let mut all = Vec::new();
    for folder in folders {
        for name in ["containers.json", "volatile-containers.json"] {
            let path = folder.join(name);
            match file::read(&path, MOST).and_then(|text| parse(&text)) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                known => all.extend(known.map_err(Error::io(path))?),
            }
        }
    }
    Ok(all)
}

fn parse(text: &[u8]) -> std::io::Result<Vec<Known>> {
    let list = serde_json::from_slice(text).map_err(|error| file::malformed(&error.to_string()))?;
    Known::all(&list, "id", "names").ok_or_else(|| file::malformed("it lists no containers"))
}

/// The folders that a monitor's options tell of: `-b FOLDER/ID/userdata`, `-p FOLDER/ID/userdata/pidfile`.
fn kept_in(container: &Container) -> impl Iterator<Item = PathBuf> {
    let podman = matches!(container.name, Name::Podman(_));
    [("-b", 2), ("-p", 3)].into_iter().filter(move |_| podman).filter_map(|(option, up)| {
        let path = Path::new(after(&container.monitor, option)?);
        path.ancestors().nth(up).map(Path::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "f28af089f14a97b48dfbd12b18404632693457269aaabbf9eaf7faa87d53e9f4";

    #[test]
    fn where_a_monitor_keeps_it() {
        let line = |words: &str| words.replace(' ', "\0").replace("ID", ID);
        let of = |name, words: &str| -> Vec<PathBuf> {
            let (id, monitor) = (String::new(), line(words));
            kept_in(&Container { name, id, pid: 1, netns: 1, monitor }).collect()
        };
        let podman = || Name::Podman(ID.into());
        let words = "/usr/bin/conmon --api-version 1 -c ID -u ID -r /usr/bin/crun \
            -b /srv/storage/vfs-containers/ID/userdata \
            -p /run/containers/storage/vfs-containers/ID/userdata/pidfile -n web \
            -l k8s-file:/srv/storage/vfs-containers/ID/userdata/ctr.log --exit-command-arg cleanup ID";
        let folders = of(podman(), words);
        assert_eq!(
            folders,
            ["/srv/storage/vfs-containers", "/run/containers/storage/vfs-containers"]
                .map(PathBuf::from)
        );
        assert!(of(Name::Docker(ID.into()), words).is_empty());
        for bad in ["", "-b", "-b x", "-p x/y -b"] {
            assert!(of(podman(), bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_storage_that_is_none() {
        assert_eq!(parse(b"[]").expect("none").len(), 0);
        for bad in [
            &b""[..],
            b"{}",
            b"[{}]",
            b"[{\"id\": 1}]",
            b"[{\"id\": \"\\u001b\", \"\x1b\": 1}]",
            b"\xff",
        ] {
            let error = parse(bad).expect_err("malformed");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
}
