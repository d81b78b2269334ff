//! The namespaces of a laboratory: made for the calling thread, emptied at the end.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Lab;

/// Where `ip netns` keeps its names, below the private `/run`.
const NETNS: &str = "/run/netns";
const CGROUPS: &str = "/sys/fs/cgroup";

/// A network namespace of the laboratory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// The laboratory's own, in which xhop runs.
    Own,
    /// One made with [`Lab::netns`].
    Named(String),
}

impl From<&str> for Where {
    fn from(name: &str) -> Where {
        Where::Named(name.to_owned())
    }
}

impl From<&Where> for Where {
    fn from(at: &Where) -> Where {
        at.clone()
    }
}

impl Lab {
    /// Runs `body` in a thread whose network namespace is `at`.
    ///
    /// There, read `/proc/thread-self/net`: `/proc/net` shows the namespace of the main thread.
    pub fn in_netns<T: Send>(&self, at: impl Into<Where>, body: impl FnOnce() -> T + Send) -> T {
        let at = at.into();
        let outcome = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                if let Where::Named(name) = &at {
                    let netns = File::open(Path::new(NETNS).join(name))
                        .unwrap_or_else(|e| panic!("namespace {name}: {e}"));
                    setns(netns, CloneFlags::CLONE_NEWNET).expect("setns");
                }
                body()
            });
            inside.join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The inode numbers of the two namespaces, by which what lives in them is found.
#[derive(Debug)]
pub struct Space {
    mounts: u64,
    net: u64,
}

impl Space {
    /// Moves the calling thread, for good, into new namespaces with a private `/run`, `/sys` and
    /// bpffs.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN; those of mount(2).
    pub fn enter() -> io::Result<Space> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        change("/", MsFlags::MS_PRIVATE | MsFlags::MS_REC)?;
        fresh("tmpfs", "/run")?;
        // A sysfs shows the network namespace of whoever mounted it, and hides the cgroups below.
        let aside = "/run/cgroup";
        fs::create_dir(aside)?;
        bind(CGROUPS, aside, MsFlags::MS_BIND | MsFlags::MS_REC)?;
        fresh("sysfs", "/sys")?;
        bind(aside, CGROUPS, MsFlags::MS_MOVE)?;
        fs::remove_dir(aside)?;
        fresh("bpf", "/sys/fs/bpf")?;
        let of_thread = |kind| fs::metadata(format!("/proc/thread-self/ns/{kind}"));
        Ok(Space { mounts: of_thread("mnt")?.ino(), net: of_thread("net")?.ino() })
    }

    /// Ends every process that lives in these namespaces, removes their cgroups and lets go of
    /// the mounts, and with them of pins and named namespaces.
    ///
    /// # Errors
    /// What was still there after some seconds.
    pub fn clear(&self) -> Result<(), String> {
        patiently(|| {
            let members = self.members();
            for &pid in &members {
                // It may have ended by itself.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if members.is_empty() { Ok(()) } else { Err(format!("processes {members:?}")) }
        })?;
        patiently(|| {
            let left = self.cgroups().into_iter().find(|dir| remove_cgroup(dir).is_err());
            left.map_or(Ok(()), |dir| Err(format!("cgroup {}", dir.display())))
        })?;
        let named = entries(NETNS);
        let fixed = ["/sys/fs/bpf", "/sys", "/run"].map(PathBuf::from);
        for mount_point in named.iter().chain(&fixed) {
            let _ = umount2(mount_point, MntFlags::MNT_DETACH);
        }
        Ok(())
    }

    /// The processes in these namespaces, and all that descend from them: a container is in
    /// namespaces of its own, but the shim that started it is here.
    fn members(&self) -> HashSet<i32> {
        let nets: HashSet<u64> =
            entries(NETNS).iter().filter_map(|path| inode(path)).chain([self.net]).collect();
        let mut parents = HashMap::new();
        let mut members = HashSet::new();
        for path in entries("/proc") {
            let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
                continue;
            };
            let here = inode(&path.join("ns/mnt")) == Some(self.mounts)
                || inode(&path.join("ns/net")).is_some_and(|net| nets.contains(&net));
            if here {
                members.insert(pid);
            }
            parents.extend(parent(&path).map(|parent| (pid, parent)));
        }
        // This process itself is here only by its thread, but count on nothing.
        let own = Pid::this().as_raw();
        loop {
            members.remove(&own);
            let children = parents.iter().filter(|(pid, parent)| {
                **pid != own && !members.contains(*pid) && members.contains(*parent)
            });
            let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
            if children.is_empty() {
                return members;
            }
            members.extend(children);
        }
    }

    /// The name, below the root of each hierarchy, of the laboratory's cgroups.
    pub fn cgroup(&self) -> String {
        format!("xhop-lab-{}", self.mounts)
    }

    /// The laboratory's cgroups: one in the unified hierarchy, or one for each old controller.
    fn cgroups(&self) -> Vec<PathBuf> {
        let name = self.cgroup();
        let hierarchies = entries(CGROUPS).into_iter().chain([PathBuf::from(CGROUPS)]);
        hierarchies.map(|dir| dir.join(&name)).filter(|dir| dir.is_dir()).collect()
    }
}

fn fresh(kind: &str, target: &str) -> io::Result<()> {
    let mounted = mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>);
    mounted.map_err(|e| io::Error::other(format!("{kind} on {target}: {e}")))
}

/// Makes what is written below `dir` private to the laboratory.
pub fn overlay(dir: &str) -> io::Result<()> {
    let [upper, work] = ["upper", "work"].map(|part| format!("/run/overlay{dir}/{part}"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let options = format!("lowerdir={dir},upperdir={upper},workdir={work}");
    Ok(mount(Some("overlay"), dir, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?)
}

fn bind(source: &str, target: &str, how: MsFlags) -> io::Result<()> {
    Ok(mount(Some(source), target, None::<&str>, how, None::<&str>)?)
}

fn change(target: &str, flags: MsFlags) -> io::Result<()> {
    Ok(mount(None::<&str>, target, None::<&str>, flags, None::<&str>)?)
}

/// The paths in a directory; none if it can't be read.
fn entries(dir: impl AsRef<Path>) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

/// The parent's id of a live process, from its directory in `/proc`; see proc_pid_stat(5).
fn parent(process: &Path) -> Option<i32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name stands in parentheses, and may contain any.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next() == Some("Z") {
        return None;
    }
    fields.next()?.parse().ok()
}

/// A cgroup goes when those below it are gone, and its last process has left.
fn remove_cgroup(dir: &Path) -> io::Result<()> {
    for below in entries(dir).iter().filter(|path| path.is_dir()) {
        remove_cgroup(below)?;
    }
    fs::remove_dir(dir)
}

/// Tries until it works, for some seconds.
fn patiently(mut attempt: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < Duration::from_secs(10) => {
                thread::sleep(Duration::from_millis(2));
            }
            outcome => return outcome,
        }
    }
}
