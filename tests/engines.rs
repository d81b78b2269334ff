//! Real containers of podman, systemd-nspawn and LXC, found by their names.

mod lab;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use lab::{
    Guest, LXC_TOOLS, Lab, NSPAWN_TOOLS, PODMAN_TOOLS, Where, assert_same, lab_with, wait_until,
};
use xhop::container::Namespaces;

const PATIENCE: Duration = Duration::from_secs(20);

/// The laboratory, and what is in both.
fn everything(lab: &Lab, pair: &[Guest; 2]) -> String {
    let [one, other] = pair;
    [lab.everything(), one.links(), other.links()].join("\n")
}

/// Waits until the kernel has finished with the addresses of interfaces that others made.
fn settle(lab: &Lab, pair: &[Guest; 2]) {
    let tentative = ["ip", "-6", "addr", "show", "tentative"];
    wait_until(PATIENCE, "no address is tentative", || {
        lab.ok_in(Where::Own, &tentative).is_empty()
            && pair.iter().all(|guest| guest.run(&tentative).ok().is_empty())
    });
}

/// Joined by these names they talk directly, and everything is as it was when they are taken out.
fn join(lab: &Lab, pair: &[Guest; 2], names: &[[&str; 2]]) {
    let [one, other] = pair;
    settle(lab, pair);
    let bridge = lab.found_bridge(Where::Own, "br0");
    one.reaches(other);
    assert_eq!(
        pair.each_ref().map(|guest| lab.owner(guest.pid)),
        pair.each_ref().map(|guest| Some(guest.name.clone()))
    );
    let before = everything(lab, pair);
    for by in ["native", "tc"] {
        lab.joins(&[&one.name, &other.name, "--datapath", by]);
        let shown: Vec<_> = lab.members().iter().map(|member| member["name"].clone()).collect();
        assert!(
            shown.len() == 2
                && pair.iter().all(|guest| shown.contains(&guest.name.as_str().into())),
            "{shown:?}"
        );
        let seen = bridge.forwarded();
        let counted = || pair.each_ref().map(|guest| lab.counted(&guest.name, "forwarded"));
        let had = counted();
        one.reaches(other);
        other.reaches(one);
        let have = counted();
        // At least 4 of ping, and 5 of HTTP each way.
        assert!((0..2).all(|n| have[n] >= had[n] + 9), "{had:?} {have:?}");
        assert_eq!(bridge.forwarded(), seen, "the bridge has seen it");
    }
    let pids = pair.each_ref().map(|guest| format!("pid:{}", guest.pid));
    let all =
        [&[one.name.as_str(), &other.name], &[one.bare(), other.bare()], &[&pids[0], other.bare()]];
    for names in all.into_iter().chain(names) {
        assert_eq!(lab.xhop(&["up", names[0], names[1]]).ok(), "nothing to do\n", "{names:?}");
    }
    lab.refuses(&["up", one.bare(), &pids[0]], &["same container"]);
    lab.xhop(&["down", &one.name, other.bare()]).ok();
    assert_same(&before, &everything(lab, pair));
    one.reaches(other);
}

#[test]
fn two_of_podman() {
    lab_with("two_of_podman", PODMAN_TOOLS, |lab| {
        lab.podman_storage();
        lab.bridge_at(Where::Own, "br0");
        // One that is removed when it ends, which newer ones keep elsewhere; one in another storage.
        let elsewhere = ["--root=/run/elsewhere", "--runroot=/run/elsewhere.run"];
        let pair = [
            lab.podman("br0", "alpha", "10.9.0.2", &[], &["--rm"]),
            lab.podman("br0", "beta", "10.9.0.3", &[], &[]),
        ];
        let id = lab.podman_call(&["inspect", "--format", "{{.Id}}", pair[1].bare()]).ok();
        let id = id.trim();
        let [whole, short] = [id, &id[..12]].map(|id| format!("podman:{id}"));
        join(
            lab,
            &pair,
            &[[&pair[0].name, &whole], [&short, &pair[0].name], [pair[0].bare(), &id[..12]]],
        );

        let other = lab.podman("br0", "gamma", "10.9.0.4", &elsewhere, &[]);
        assert_eq!(lab.owner(other.pid).as_ref(), Some(&other.name));
        lab.joins(&[&other.name, &pair[0].name]);
        other.reaches(&pair[0]);
        lab.xhop(&["down", "--all"]).ok();

        // Its monitor goes on calling it by the old name.
        let renamed = format!("{}x", pair[0].bare());
        lab.podman_call(&["rename", pair[0].bare(), &renamed]).ok();
        assert_eq!(lab.owner(pair[0].pid), Some(format!("podman:{renamed}")));
        lab.joins(&[&renamed, pair[1].bare()]);
        lab.xhop(&["down", "--all"]).ok();
        lab.refuses(
            &["up", &pair[0].name, pair[1].bare()],
            &[&pair[0].name, "no such container", "podman ps"],
        );

        pair[1].end();
        let start = format!("podman start {}", pair[1].bare());
        lab.refuses(&["up", &renamed, pair[1].bare()], &[&pair[1].name, "not running", &start]);

        // Nor does it for somebody who passes for its monitor.
        let script = "/run/roots/script";
        fs::write(script, "unshare --user --net sleep 60; true").expect("a file");
        symlink("/bin/bash", "/run/roots/conmon").expect("a symlink");
        let somebody = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
        let monitor = ["/run/roots/conmon", script, "-c", id];
        let impostor = lab.spawn_in(Where::Own, &[&somebody[..], &monitor].concat());
        let child = ["pgrep", "-x", "sleep", "-P", &impostor.pid().to_string()];
        wait_until(PATIENCE, "somebody has a namespace of his own", || {
            lab.run_in(Where::Own, &child).status.success()
        });
        lab.refuses(&["up", &renamed, pair[1].bare()], &[&pair[1].name, "not running", &start]);
        drop(impostor);

        // A storage that is something else.
        let storage = "/var/lib/containers/storage/vfs-containers/containers.json";
        let text = fs::read(storage).expect("podman's storage");
        for text in [&text[..text.len() / 2], b"{}", &[b' '; (16 << 20) + 1]] {
            fs::write(storage, text).expect("a file");
            lab.refuses(&["up", &renamed, "pid:1"], &[storage, "check that it is"]);
        }
        fs::remove_file(storage).expect("removed");
        symlink("/etc/passwd", storage).expect("a symlink");
        lab.refuses(&["up", &renamed, "pid:1"], &[storage, "check that it is"]);
    });
}

#[test]
fn two_of_nspawn() {
    lab_with("two_of_nspawn", NSPAWN_TOOLS, |lab| {
        lab.bridge_at(Where::Own, "br0");
        let pair = [
            lab.nspawn("br0", "alpha", "10.9.0.2", ""),
            lab.nspawn("br0", "beta", "10.9.0.3", "--read-only"),
        ];
        join(lab, &pair, &[]);
        pair[1].end();
        let [one, other] = &pair;
        lab.refuses(
            &["up", &one.name, &other.name],
            &[&other.name, "no such container", "machinectl"],
        );
    });
}

#[test]
fn two_of_lxc() {
    lab_with("two_of_lxc", LXC_TOOLS, |lab| {
        lab.lxc_storage();
        lab.bridge_at(Where::Own, "br0");
        // The title of the one's monitor tells its name, the cgroup of the other.
        let pair =
            [lab.lxc("br0", "alpha", "10.9.0.2", false), lab.lxc("br0", "beta", "10.9.0.3", true)];
        join(lab, &pair, &[]);
        let title = format!("[lxc monitor] /elsewhere {}", pair[0].bare());
        // Somebody else's of the same name: a program with this title, and a child in another namespace.
        let script = format!("exec -a '{title}' bash -c 'unshare --net sleep 60; true'");
        let impostor = lab.spawn_in(Where::Own, &["bash", "-c", &script]);
        wait_until(PATIENCE, "there are two of this name", || {
            let done = lab.xhop(&["up", &pair[0].name, &pair[1].name]);
            done.stderr.contains("ambiguous")
                && done.stderr.contains(&format!("pid:{}", pair[0].pid))
        });
        lab.ok_in(Where::Own, &["pkill", "-P", &impostor.pid().to_string()]);
        impostor.wait(PATIENCE);

        pair[1].end();
        let [one, other] = &pair;
        let start = format!("lxc-start {}", other.bare());
        lab.refuses(&["up", &one.name, other.bare()], &[&other.name, "not running", &start]);
        lab.refuses(
            &["up", &one.name, "lxc:nobody"],
            &["lxc:nobody", "no such container", "lxc-ls"],
        );
    });
}

#[test]
fn one_name_of_two_kinds() {
    let tools = [PODMAN_TOOLS, LXC_TOOLS].concat();
    lab_with("one_name_of_two_kinds", &tools, |lab| {
        lab.podman_storage();
        fs::create_dir_all("/var/lib/lxc").expect("a folder");
        lab.bridge_at(Where::Own, "br0");
        let podman = lab.podman("br0", "alpha", "10.9.0.2", &[], &[]);
        let lxc = lab.lxc("br0", "alpha", "10.9.0.3", false);
        podman.reaches(&lxc);
        wait_until(PATIENCE, "the bridge is up", || {
            lab.ok_in(Where::Own, &["ip", "link", "show", "br0"]).contains("state UP")
        });
        assert_eq!(podman.bare(), lxc.bare());
        lab.netns(lxc.bare());
        let netns = format!("netns:{}", lxc.bare());
        lab.refuses(
            &["up", podman.bare(), &lxc.name],
            &["ambiguous", &podman.name, &lxc.name, &netns],
        );
        lab.joins(&[&podman.name, &lxc.name]);
        podman.reaches(&lxc);
        // The namespace that has but a name; nobody's is the laboratory's own.
        let inode = fs::metadata(format!("/run/netns/{}", lxc.bare())).expect("a name").ino();
        let namespaces = Namespaces::find().expect("namespaces");
        assert_eq!(namespaces.owner(inode).expect("all").map(|name| name.to_string()), Some(netns));
        let own = lab.ok_in(Where::Own, &["stat", "-Lc", "%i", "/proc/self/ns/net"]);
        let own = own.trim().parse().expect("an inode number");
        assert_eq!(namespaces.owner(own).expect("all"), None);
    });
}
