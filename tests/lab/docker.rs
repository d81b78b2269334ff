//! A Docker daemon of the laboratory's own, with containers from an image of busybox.
//!
//! Its files are in the private `/run` or an overlay, its bridge and netfilter rules in the
//! laboratory's own network namespace, its cgroups below one of the laboratory's: all goes with it.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Lab, Output, Running, Where, space, wait_until};

/// What [`Lab::docker`] needs, for [`super::lab_with`].
pub const TOOLS: &[&str] = &["dockerd", "containerd", "runc", "docker", "busybox", "tar"];

const PATIENCE: Duration = Duration::from_secs(60);
const SOCKET: &str = "--host=unix:///run/docker.sock";
const IMAGE: &str = "xhop-lab";

/// A Docker daemon where everyone looks for it: `/run/docker.sock`, `/run/docker`, docker0.
#[derive(Debug)]
pub struct Docker<'l> {
    lab: &'l Lab,
    daemon: Running,
}

impl Lab {
    /// Starts a Docker daemon in the laboratory's own namespace and makes it an image.
    pub fn docker(&self) -> Docker<'_> {
        for dir in ["/etc", "/opt"] {
            space::overlay(dir).expect("a private copy of what dockerd writes to");
        }
        fs::write("/run/docker.json", "{}").expect("a file in /run");
        let mut docker = Docker { lab: self, daemon: self.dockerd() };
        docker.wait_for_engine();
        docker.import();
        docker
    }

    /// Its containers outlive it.
    fn dockerd(&self) -> Running {
        // Absolute: else it would be below the cgroup of the tests.
        let cgroup = format!("--cgroup-parent=/{}", self.space.cgroup());
        let argv = [
            "dockerd",
            "--data-root=/run/docker-data",
            "--config-file=/run/docker.json",
            "--log-level=warn",
            "--storage-driver=vfs",
            "--bip=172.17.0.1/16",
            "--live-restore",
            &cgroup,
        ];
        self.spawn_in(Where::Own, &argv)
    }
}

impl Docker<'_> {
    /// Starts the container `name` (two characters at least) on docker0: an HTTP server, whose
    /// page is its name.
    pub fn run(&self, name: &str) {
        self.run_with(name, &[]);
    }

    /// The same, whose server is reached by this port of the host too.
    pub fn publish(&self, name: &str, port: u16) {
        self.run_with(name, &["--publish", &format!("{port}:80")]);
    }

    fn run_with(&self, name: &str, options: &[&str]) {
        // Printed before exec, so that the page is there when the server is.
        let script = format!("echo {name} > /index.html; exec /bin/busybox httpd -f -p 80 -h /");
        let shell = ["/bin/busybox", "sh", "-c", &script];
        let run = ["run", "--detach", "--name", name, "--hostname", name];
        self.call(&[&run, options, &[IMAGE], &shell].concat());
        self.wait_for_server(name);
    }

    /// Restarts a container at once. It gets a new namespace and a new veth.
    pub fn restart(&self, name: &str) {
        self.call(&["restart", "--time=0", name]);
        self.wait_for_server(name);
    }

    /// Gives a container another name.
    pub fn rename(&self, name: &str, to: &str) {
        self.call(&["rename", name, to]);
    }

    /// Ends and removes a container at once.
    pub fn remove(&self, name: &str) {
        self.call(&["rm", "--force", name]);
    }

    /// Runs one of busybox's commands in a container.
    pub fn exec(&self, name: &str, argv: &[&str]) -> Output {
        self.try_call(&[&["exec", name, "/bin/busybox"], argv].concat())
    }

    /// Starts one of busybox's commands in a container.
    pub fn spawn(&self, name: &str, argv: &[&str]) -> Running {
        let docker = ["docker", SOCKET, "exec", name, "/bin/busybox"];
        self.lab.spawn_in(Where::Own, &[&docker, argv].concat())
    }

    /// `docker network ...`
    pub fn network(&self, args: &[&str]) {
        self.call(&[&["network"], args].concat());
    }

    /// The container's IPv4 address.
    pub fn address(&self, name: &str) -> String {
        self.inspect(name, "{{.NetworkSettings.IPAddress}}")
    }

    /// The id of the container's first process.
    pub fn pid(&self, name: &str) -> u32 {
        self.inspect(name, "{{.State.Pid}}").parse().expect("a process id")
    }

    /// One value of `docker inspect`, by its Go template.
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.call(&["inspect", "--format", template, name]).trim().to_owned()
    }

    /// Ends the engine; `meanwhile` is what is done before it begins again.
    pub fn restart_engine(&mut self, meanwhile: impl FnOnce()) {
        self.daemon.signal(Signal::SIGTERM);
        wait_until(PATIENCE, "dockerd ends", || !self.daemon.alive());
        meanwhile();
        self.daemon = self.lab.dockerd();
        self.wait_for_engine();
    }

    fn wait_for_engine(&mut self) {
        wait_until(PATIENCE, "dockerd answers", || {
            assert!(self.daemon.alive(), "dockerd ended:\n{}", self.daemon.stderr());
            self.try_call(&["version"]).status.success()
        });
    }

    fn wait_for_server(&self, name: &str) {
        wait_until(PATIENCE, &format!("container {name} serves"), || {
            self.exec(name, &["wget", "-q", "-O", "-", "http://127.0.0.1/"]).status.success()
        });
    }

    /// Makes an image that holds a static busybox and nothing else.
    fn import(&self) {
        let lab = self.lab;
        let busybox = lab.ok_in(Where::Own, &["sh", "-c", "command -v busybox"]);
        fs::create_dir_all("/run/image/bin").expect("a directory in /run");
        fs::copy(busybox.trim(), "/run/image/bin/busybox").expect("a copy of busybox");
        lab.ok_in(Where::Own, &["tar", "-C", "/run/image", "-cf", "/run/image.tar", "bin"]);
        self.call(&["import", "/run/image.tar", IMAGE]);
    }

    fn call(&self, args: &[&str]) -> String {
        let done = self.try_call(args);
        assert!(done.status.success(), "{done}\ndockerd:\n{}", self.daemon.stderr());
        done.stdout
    }

    fn try_call(&self, args: &[&str]) -> Output {
        self.lab.run_in(Where::Own, &[&["docker", SOCKET], args].concat())
    }
}
