//! Processes, as /proc shows them: proc(5).

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::file;
use super::netns::entries;
use crate::Result;

/// What is longer is not read.
const MOST: u64 = 1 << 20;

/// The numbers of all processes.
pub fn all() -> Result<Vec<u32>> {
    let number = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    Ok(entries("/proc")?.into_iter().filter_map(number).collect())
}

/// Inode number of one of its namespaces: `net`, `pid`. `None` if it is gone.
pub fn namespace(pid: u32, kind: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).map(|meta| meta.ino()).ok()
}

/// A field of its status, for example `PPid`; empty if it is gone.
pub fn status(pid: u32, field: &str) -> String {
    let status = text(pid, "status");
    let value = |line: &str| line.strip_prefix(field)?.strip_prefix(":\t").map(str::to_owned);
    status.split('\n').find_map(value).unwrap_or_default()
}

/// What is in one of its files: `cmdline`, `cgroup`. Empty if it is gone.
pub fn text(pid: u32, file: &str) -> String {
    let path = format!("/proc/{pid}/{file}");
    let bytes = file::read(path.as_ref(), MOST).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_one() {
        let own = std::process::id();
        assert!(all().expect("all").contains(&own));
        assert_eq!(status(own, "PPid"), std::os::unix::process::parent_id().to_string());
        let ids = [nix::unistd::getuid(), nix::unistd::geteuid()].map(|id| id.to_string());
        assert!(status(own, "Uid").starts_with(&ids.join("\t")));
        let line: Vec<String> = std::env::args().collect();
        assert_eq!(text(own, "cmdline").trim_end_matches('\0'), line.join("\0"));
        let net = crate::sys::netns::Netns::current().expect("current");
        assert_eq!(namespace(own, "net"), Some(net.inode()));
        for gone in [0, u32::MAX] {
            assert_eq!(namespace(gone, "net"), None);
            assert!(status(gone, "PPid").is_empty() && text(gone, "cgroup").is_empty());
        }
    }
}
