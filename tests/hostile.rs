//! A container's root and the host's other users may do as they like: xhop neither fails nor obeys.

mod lab;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use lab::{DATAPATHS, Lab, Where, assert_same, lab, lab_by, lab_by_each, wait_until};
use xhop::sys::bpffs::is_bpffs;
use xhop::sys::kernel;

const PATIENCE: Duration = Duration::from_secs(20);
const GRO: &str = "generic-receive-offload";

/// Gives b's interface another name; printf(1) knows the escapes. Waits until b is back.
fn rename(lab: &Lab, from: &str, to: &str) {
    let script = format!(
        r#"from="$(printf '{from}')"; to="$(printf '{to}')"; ip link set "$from" down &&
        ip link set "$from" name "$to" && ip link set "$to" up"#
    );
    lab.ok_in("b", &["sh", "-c", &script]);
    wait_until(PATIENCE, "b is reached", || {
        lab.run_in("a", &["ping", "-n", "-c1", "-W1", "10.9.0.3"]).status.success()
    });
}

#[test]
fn names_that_are_no_text_or_move_the_cursor() {
    lab_by_each("names_that_are_no_text_or_move_the_cursor", &[], |lab| {
        lab.pair();
        // It loses its IPv6 addresses when it goes down, once.
        rename(lab, "eth0", "eth1");
        rename(lab, "eth1", "eth0");
        let before = lab.everything();
        for name in ["\\377\\376", "\\033[31mX"] {
            for first in [true, false] {
                if first {
                    rename(lab, "eth0", name);
                }
                lab.joins(&["a", "b"]);
                if !first {
                    rename(lab, "eth0", name);
                    lab.joins(&["a", "b"]);
                }
                assert_eq!(lab.state("netns:b"), "up", "{name}");
                lab.pings("a", "10.9.0.3");
                for args in
                    [&["status"][..], &lab.up_args(&["a", "b"]), &["down", "--all", "--dry-run"]]
                {
                    let shown = lab.xhop(args).ok();
                    assert!(!shown.contains('\x1b'), "{}", shown.escape_debug());
                }
                lab.xhop(&["down", "--all"]).ok();
                rename(lab, name, "eth0");
                assert_same(&before, &lab.everything());
            }
        }
    });
}

/// Puts a folder that is not root's alone at `path`, in each way, and lets `up` see it.
fn refuses_folders(lab: &Lab, path: &Path) {
    let nobody = Some(65534);
    for (uid, gid, mode) in [(nobody, None, 0o700), (None, nobody, 0o770), (None, None, 0o707)] {
        fs::create_dir(path).expect("a folder");
        chown(path, uid, gid).expect("chown");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        let name = path.display().to_string();
        for by in DATAPATHS {
            for attach in ["link", "netlink"] {
                let args = ["up", "a", "b", "--datapath", by, "--attach", attach];
                lab.refuses(&args, &[&name, "root"]);
            }
        }
        fs::remove_dir(path).expect("the folder, empty");
    }
    fs::create_dir_all("/run/elsewhere").expect("a folder");
    symlink("/run/elsewhere", path).expect("a symlink");
    lab.refuses(&["up", "a", "b"], &[&path.display().to_string(), "root"]);
    fs::remove_file(path).expect("the symlink");
}

#[test]
fn folders_of_others() {
    lab("folders_of_others", |lab| {
        lab.pair();
        for path in ["/run/xhop", "/sys/fs/bpf/xhop"] {
            refuses_folders(lab, Path::new(path));
        }
        lab.joins(&["a", "b"]);
        let before = lab.everything();
        fs::set_permissions("/run/xhop", fs::Permissions::from_mode(0o777)).expect("chmod");
        lab.refuses(&["down", "--all"], &["/run/xhop", "root"]);
        assert_same(&before, &lab.everything());
    });
}

/// Its root switches off what was on when it was joined, or what xhop has switched on.
#[test]
fn an_end_that_stops_polling() {
    lab_by("an_end_that_stops_polling", &["ebtables"], "native", |lab| {
        let pair = lab.pair();
        let before = lab.everything();
        lab.ok_in("b", &["ethtool", "-K", "eth0", "gro", "on"]);
        lab.joins(&["a", "b"]);
        assert_eq!(lab.member("netns:a")["readiness"], "gro");
        assert_eq!(lab.member("netns:b")["readiness"], "found");
        for name in ["a", "b"] {
            let member = format!("netns:{name}");
            pair.bridge.is_bypassed(&pair.a, &pair.b);
            lab.ok_in(name, &["ethtool", "-K", "eth0", "gro", "off"]);
            // Before Linux 6.3 the kernel can't say.
            if kernel::release().expect("uname") >= (6, 3) {
                assert_eq!(lab.state(&member), "deaf");
                assert!(lab.xhop(&["status"]).ok().contains("deaf"));
            }
            lab.joins(&["a", "b"]);
            assert_eq!(lab.state(&member), "up");
            pair.bridge.is_bypassed(&pair.a, &pair.b);
        }
        lab.xhop(&["down", "--all"]).ok();
        assert!(!lab.feature("b", GRO), "it was off when xhop switched it on");
        assert_same(&before, &lab.everything());
    });
}

/// Somebody works in the bpffs that xhop has mounted.
#[test]
fn a_mount_that_is_busy() {
    lab_by_each("a_mount_that_is_busy", &[], |lab| {
        lab.pair();
        lab.ok_in(Where::Own, &["umount", "/sys/fs/bpf"]);
        let before = lab.everything();
        lab.joins(&["a", "b"]);
        let sleeper = lab.spawn_in(Where::Own, &["sh", "-c", "cd /sys/fs/bpf && exec sleep 600"]);
        let cwd = format!("/proc/{}/cwd", sleeper.pid());
        wait_until(PATIENCE, "somebody is there", || {
            fs::read_link(&cwd).is_ok_and(|at| at == Path::new("/sys/fs/bpf"))
        });
        let done = lab.xhop(&["down", "--all"]);
        assert_eq!(done.status.code(), Some(0), "{done}");
        assert_eq!(lab.members().len(), 0);
        drop(sleeper);
        // The mount is still xhop's to undo.
        lab.joins(&["a", "b"]);
        lab.xhop(&["down", "--all"]).ok();
        assert!(!is_bpffs("/sys/fs/bpf".as_ref()).expect("statfs"));
        assert_same(&before, &lab.everything());
    });
}

/// An engine that has crashed leaves its socket behind.
#[test]
fn a_socket_that_nobody_listens_at() {
    lab_by_each("a_socket_that_nobody_listens_at", &[], |lab| {
        lab.pair_at(Where::Own);
        drop(UnixListener::bind("/run/docker.sock").expect("a socket"));
        lab.joins(&["netns:a", "netns:b"]);
        lab.pings("a", "10.9.0.3");
        // Nor does it hold up names without a kind.
        lab.joins(&["a", "b"]);
        lab.xhop(&["down", "a", "b"]).ok();
        assert_eq!(lab.members().len(), 0);
    });
}
