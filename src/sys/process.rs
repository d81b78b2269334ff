//! Processes, as /proc shows them: proc(5).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::netns::entries;
use crate::Result;

/// The fields that are read stand in the first bytes of a status.
const STATUS: usize = 512;
/// Of a command line, or the list of cgroups, no more is read.
const MOST: u64 = 64 << 10;

/// A process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// That of its parent.
    pub parent: u32,
    /// The first 15 bytes of the name of its program.
    pub name: String,
    /// It is the host's root, by real and effective user id.
    pub root: bool,
    /// Inode number of its network namespace.
    pub netns: u64,
}

/// All processes, by number. One that ends meanwhile is left out.
pub fn all() -> Result<Vec<Process>> {
    let mut all: Vec<_> = folders()?.filter_map(|folder| look(&folder)).collect();
    all.sort_unstable_by_key(|process| process.pid);
    Ok(all)
}

/// The folder of each process.
pub fn folders() -> Result<impl Iterator<Item = PathBuf>> {
    let is_number = |name: &OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    Ok(entries("/proc")?.into_iter().filter(move |path| path.file_name().is_some_and(is_number)))
}

/// The arguments that the process was started with, or has set itself.
pub fn arguments(pid: u32) -> Vec<String> {
    let line = text(pid, "cmdline");
    line.split_terminator('\0').map(str::to_owned).collect()
}

/// The cgroups of the process, one for each hierarchy: cgroups(7).
pub fn cgroups(pid: u32) -> String {
    text(pid, "cgroup")
}

/// Whether the process is in the PID namespace that we are in, and not in a container's.
pub fn is_near(pid: u32) -> bool {
    let inode = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/pid")).map(|meta| meta.ino()).ok();
    inode(&pid.to_string()) == inode("self")
}

/// What is in one of its files; nothing if it is gone.
fn text(pid: u32, file: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/{file}")) {
        let _ = file.take(MOST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn look(folder: &Path) -> Option<Process> {
    let pid = folder.file_name()?.to_str()?.parse().ok()?;
    let netns = fs::metadata(folder.join("ns/net")).ok()?.ino();
    let mut bytes = [0; STATUS];
    let count = File::open(folder.join("status")).ok()?.read(&mut bytes).ok()?;
    let (name, parent, root) = status(&String::from_utf8_lossy(&bytes[..count]))?;
    Some(Process { pid, parent, name, root, netns })
}

/// Name, parent, and whether it is root.
fn status(text: &str) -> Option<(String, u32, bool)> {
    let field = |key| text.lines().find_map(|line| line.strip_prefix(key));
    let root = field("Uid:\t")?.split('\t').take(2).all(|id| id == "0");
    Some((field("Name:\t")?.into(), field("PPid:\t")?.parse().ok()?, root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_status() {
        let text = |uid| {
            format!(
                "Name:\tsystemd-nspawn\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t13505\nNgid:\t0\n\
                 Pid:\t13505\nPPid:\t13488\nTracerPid:\t0\nUid:\t{uid}\nGid:\t0\t0\t0\t0\nFDSize:\t64\n"
            )
        };
        let of = |uid| status(&text(uid));
        let name = || "systemd-nspawn".to_owned();
        assert_eq!(of("0\t0\t0\t0"), Some((name(), 13488, true)));
        // What su(1) is for somebody, and the root of a user namespace.
        assert_eq!(of("1000\t0\t0\t0"), Some((name(), 13488, false)));
        assert_eq!(of("100000\t100000\t100000\t100000"), Some((name(), 13488, false)));
        assert_eq!(status("Name:\tx\nPPid:\ty\nUid:\t0\n"), None);
        assert_eq!(status(""), None);
    }

    #[test]
    fn this_one() {
        let own = std::process::id();
        let all = all().expect("all");
        let found = all.iter().find(|process| process.pid == own).expect("this process");
        assert_eq!(found.parent, std::os::unix::process::parent_id());
        assert_eq!(found.root, nix::unistd::getuid().is_root() && nix::unistd::geteuid().is_root());
        assert!(all.is_sorted_by_key(|process| process.pid));
        assert_eq!(arguments(own), std::env::args().collect::<Vec<_>>());
        assert!(is_near(own) && !is_near(0));
        assert!(arguments(0).is_empty());
    }
}
