//! Containers of podman, systemd-nspawn and LXC in the laboratory, on a bridge of its own: each serves a page
//! that is its name.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Lab, Output, Running, Where, space, wait_until};

/// What [`Lab::podman`] needs, for [`super::lab_with`].
pub const PODMAN_TOOLS: &[&str] =
    &["podman", "conmon", "crun", "busybox", "nsenter", "curl", "pgrep", "setpriv"];
/// What [`Lab::nspawn`] needs.
pub const NSPAWN_TOOLS: &[&str] = &["systemd-nspawn", "busybox", "nsenter", "curl", "pgrep"];
/// What [`Lab::lxc`] needs.
pub const LXC_TOOLS: &[&str] = &["lxc-start", "lxc-info", "busybox", "nsenter", "curl", "pkill"];

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
const SERVE: [&str; 7] = ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/"];

/// A container that runs.
#[derive(Debug)]
pub struct Guest<'l> {
    lab: &'l Lab,
    /// As xhop is to call it: `lxc:alpha-17`.
    pub name: String,
    /// Its first process, by its engine's word.
    pub pid: u32,
    /// Its IPv4 address.
    pub address: String,
    ifname: &'static str,
    /// The index of its veth's other end.
    host: u64,
    /// What ends with it, if that is not in the background.
    process: Option<Running>,
}

impl Guest<'_> {
    /// Its name without the kind.
    pub fn bare(&self) -> &str {
        self.name.split_once(':').expect("a kind").1
    }

    /// Runs a command of the host's in its network namespace.
    pub fn run(&self, argv: &[&str]) -> Output {
        let pid = self.pid.to_string();
        let enter = ["nsenter", "--net", "--target", &pid];
        self.lab.run_in(Where::Own, &[&enter, argv].concat())
    }

    /// A ping and a GET there must be answered.
    pub fn reaches(&self, to: &Guest) {
        self.run(&["ping", "-n", "-c2", "-i0.1", "-W2", &to.address]).ok();
        let url = format!("http://{}/", to.address);
        assert_eq!(self.run(&["curl", "-sS", "-m3", &url]).ok(), to.bare());
    }

    /// Ends it; its veth goes with it.
    pub fn end(&self) {
        let pid = i32::try_from(self.pid).expect("a process id");
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        wait_until(PATIENCE, &format!("{} has ended", self.name), || {
            let links = self.lab.json(Where::Own, &["ip", "-j", "link"]);
            !links.as_array().into_iter().flatten().any(|link| link["ifindex"] == self.host)
        });
    }

    /// Its links and their features.
    pub fn links(&self) -> String {
        let shown = ["ip -d -o link show", &format!("ethtool -k {}", self.ifname)]
            .map(|command| self.run(&command.split(' ').collect::<Vec<_>>()).ok());
        shown.concat().lines().map(|line| format!("{}: {line}\n", self.name)).collect()
    }
}

impl Drop for Guest<'_> {
    /// systemd-nspawn that is killed leaves its machine behind.
    fn drop(&mut self) {
        if self.process.is_some() {
            self.end();
        }
    }
}

impl Lab {
    /// A name that no other test gives to a container: those of all are seen from each.
    fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.space.cgroup().trim_start_matches("xhop-lab-"))
    }

    /// Makes the folder that will be the root of a container.
    fn root(&self, kind: &str, name: &str) -> String {
        let root = format!("/run/roots/{kind}/{name}");
        let folders = ["bin", "etc", "usr", "proc", "sys", "dev", "run", "tmp", "sbin"];
        for folder in folders {
            fs::create_dir_all(Path::new(&root).join(folder)).expect("a folder in /run");
        }
        let busybox = self.ok_in(Where::Own, &["sh", "-c", "command -v busybox"]);
        fs::copy(busybox.trim(), format!("{root}/bin/busybox")).expect("a copy of busybox");
        fs::write(format!("{root}/etc/os-release"), "").expect("a file in /run");
        fs::write(format!("{root}/index.html"), name).expect("a file in /run");
        root
    }

    /// Shows the unified cgroups alone, as hosts do today, where this one has the old ones too.
    pub fn unify_cgroups(&self) {
        const CGROUPS: &str = "/sys/fs/cgroup";
        if !Path::new(CGROUPS).join("cgroup.procs").exists() {
            let kind = Some("cgroup2");
            mount(kind, CGROUPS, kind, MsFlags::empty(), None::<&str>).expect("cgroup2");
        }
    }

    /// A command that is run in a cgroup of its own, below the laboratory's.
    fn in_cgroup(&self, name: &str, command: &str) -> [String; 3] {
        let unified = ["", "/unified"].map(|below| format!("/sys/fs/cgroup{below}"));
        let unified = unified.iter().find(|root| Path::new(root).join("cgroup.procs").exists());
        let root = unified.expect("a unified hierarchy of cgroups");
        let cgroup = format!("{root}/{}/{name}", self.space.cgroup());
        fs::create_dir_all(&cgroup).expect("a cgroup");
        ["sh".into(), "-c".into(), format!("echo $$ > {cgroup}/cgroup.procs && exec {command}")]
    }

    /// Waits until a container's server answers from within.
    fn serving(&self, guest: &Guest) {
        wait_until(PATIENCE, &format!("{} serves", guest.name), || {
            let url = format!("http://{}/", guest.address);
            guest.run(&["curl", "-sS", "-m1", &url]).status.success()
        });
    }

    /// Makes podman's storage, which is in the usual place, private.
    pub fn podman_storage(&self) {
        self.unify_cgroups();
        space::overlay("/var/lib").expect("a private copy of what podman writes to");
    }

    /// Calls podman.
    pub fn podman_call(&self, args: &[&str]) -> Output {
        let globals =
            ["--cgroup-manager=cgroupfs", "--storage-driver=vfs", "--events-backend=none"];
        self.run_in(Where::Own, &[&["podman", "--runtime=crun"], &globals[..], args].concat())
    }

    /// Starts a container of podman without a network and gives it one: an `eth0` on `bridge`. `globals`
    /// are podman's, `options` those of `podman run`.
    pub fn podman(
        &self,
        bridge: &str,
        name: &str,
        address: &str,
        globals: &[&str],
        options: &[&str],
    ) -> Guest<'_> {
        let name = self.unique(name);
        let root = self.root("podman", &name);
        let (_, files) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        // What it asks for by itself is more than some may have.
        let files = format!("--ulimit=nofile={files}:{files}");
        let run = [
            "run",
            "--detach",
            "--name",
            &name,
            "--network=none",
            "--cgroups=disabled",
            &files,
            "--ulimit=nproc=1000:1000",
        ];
        let what = ["--rootfs", &root];
        self.podman_call(&[globals, &run, options, &what, &SERVE].concat()).ok();
        let inspect = ["inspect", "--format", "{{.State.Pid}}", &name];
        let pid = self.podman_call(&[globals, &inspect].concat()).ok();
        let pid = pid.trim().to_owned();
        let veth = format!("p{pid}");
        let add =
            ["ip", "link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", &pid];
        self.ok_in(Where::Own, &add);
        self.ok_in(Where::Own, &["ip", "link", "set", &veth, "master", bridge, "up"]);
        self.guest("podman", name, pid.parse().expect("a process id"), address, "eth0", None)
    }

    /// Starts a machine of systemd-nspawn on `bridge`, which is registered nowhere.
    pub fn nspawn(&self, bridge: &str, name: &str, address: &str, options: &str) -> Guest<'_> {
        let name = self.unique(name);
        let root = self.root("nspawn", &name);
        let command = format!(
            "systemd-nspawn --quiet --register=no --keep-unit --network-bridge={bridge} {options} -D {root} {}",
            SERVE.join(" ")
        );
        let argv = self.in_cgroup(&name, &command);
        let mut process = self.spawn_in(Where::Own, &argv.each_ref().map(String::as_str));
        let parent = process.pid().to_string();
        let mut first = None;
        wait_until(PATIENCE, &format!("{name} runs"), || {
            assert!(process.alive(), "{}{}", process.stdout(), process.stderr());
            let child = self.run_in(Where::Own, &["pgrep", "-P", &parent, "-x", "busybox"]);
            first = child.stdout.trim().parse().ok();
            first.is_some()
        });
        let pid = first.expect("a process id");
        self.guest("nspawn", name, pid, address, "host0", Some(process))
    }

    /// Where the laboratory keeps containers of LXC: in the usual place, but privately.
    pub fn lxc_storage(&self) {
        self.unify_cgroups();
        space::overlay("/var/lib").expect("a private copy of what LXC writes to");
        fs::create_dir_all("/var/lib/lxc").expect("a folder");
    }

    /// Starts a container of LXC on `bridge`, whose monitor goes to the background or stays in the foreground.
    pub fn lxc(&self, bridge: &str, name: &str, address: &str, foreground: bool) -> Guest<'_> {
        let name = self.unique(name);
        let folder = format!("/var/lib/lxc/{name}");
        fs::create_dir_all(&folder).expect("a folder");
        let config = format!(
            "lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\nlxc.net.0.type = veth\nlxc.net.0.link = {bridge}\n\
             lxc.net.0.name = eth0\nlxc.net.0.flags = up\nlxc.cgroup.relative = 1\nlxc.init.cmd = {}\n\
             lxc.apparmor.profile = unconfined\n",
            self.root("lxc", &name),
            SERVE.join(" ")
        );
        fs::write(format!("{folder}/config"), config).expect("a file");
        let mode = if foreground { "--foreground" } else { "--daemon" };
        let command = format!("lxc-start --name {name} --logfile /run/{name}.log {mode}");
        let argv = self.in_cgroup(&name, &command);
        let argv = argv.each_ref().map(String::as_str);
        let log = || fs::read_to_string(format!("/run/{name}.log")).unwrap_or_default();
        let mut process = match foreground {
            true => Some(self.spawn_in(Where::Own, &argv)),
            false => {
                let done = self.run_in(Where::Own, &argv);
                assert!(done.status.success(), "{done}{}", log());
                None
            }
        };
        let mut first = None;
        wait_until(PATIENCE, &format!("{name} runs"), || {
            assert!(process.as_mut().is_none_or(Running::alive), "{}", log());
            let info = self.run_in(Where::Own, &["lxc-info", "--name", &name, "-p", "-H"]);
            first = info.stdout.trim().parse().ok();
            first.is_some()
        });
        self.guest("lxc", name, first.expect("a process id"), address, "eth0", process)
    }

    /// Gives it its address, and waits for its server.
    fn guest(
        &self,
        kind: &str,
        name: String,
        pid: u32,
        address: &str,
        ifname: &'static str,
        process: Option<Running>,
    ) -> Guest<'_> {
        let name = format!("{kind}:{name}");
        let mut guest =
            Guest { lab: self, name, pid, address: address.into(), ifname, host: 0, process };
        let links = guest.run(&["ip", "-j", "link", "show", "dev", ifname]).ok();
        let links: serde_json::Value = serde_json::from_str(&links).expect("JSON");
        guest.host = links[0]["link_index"].as_u64().expect("a veth");
        guest.run(&["ip", "link", "set", "lo", "up"]).ok();
        guest.run(&["ip", "addr", "add", &format!("{address}/24"), "dev", ifname]).ok();
        guest.run(&["ip", "link", "set", ifname, "up"]).ok();
        self.serving(&guest);
        guest
    }
}
