//! `xhop watch` beside a real Docker: containers that come, go, restart and change networks.

mod lab;

use std::time::Duration;

use lab::{DOCKER_TOOLS, Docker, Lab, Running, Where, XHOP, counter, lab_with, wait_until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// How often a container restarts.
const CYCLES: usize = 50;
const NAMES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// The member with this address, if it is up.
fn member_at(lab: &Lab, address: &str) -> Option<Value> {
    let has = |member: &Value| {
        let addresses = member["addresses"].as_array().into_iter().flatten();
        member["state"] == "up" && addresses.into_iter().any(|a| a == address)
    };
    lab.members().into_iter().find(has)
}

/// Joined, and by its name, though Docker makes its network before its process runs, by which it is known.
fn is_joined(lab: &Lab, docker: &Docker, watch: &Running, name: &str) {
    let address = docker.address(name);
    let full = format!("docker:{name}");
    let is = || member_at(lab, &address).is_some_and(|member| member["name"] == full);
    for _ in 0..PATIENCE.as_millis() / 50 {
        if is() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(is(), "{name}, {address}:\n{}{}{:?}", watch.stdout(), watch.stderr(), lab.members());
    assert!(!watch.stderr().contains("failed"), "{}", watch.stderr());
}

/// A page from one to the other, which hops.
fn hops(lab: &Lab, docker: &Docker, from: &str, to: &str) {
    let [client, server] = [from, to].map(|name| docker.address(name));
    let forwarded = || {
        let member = member_at(lab, &client).unwrap_or_else(|| panic!("{from} is not joined"));
        counter(&member, "forwarded", "packets")
    };
    // Docker announces a new address, and whoever asked before gets to know it; but in its time.
    wait_until(PATIENCE, &format!("{to} answers {from}"), || {
        docker.exec(from, &["ping", "-c", "1", "-W", "1", &server]).status.success()
    });
    let before = forwarded();
    let url = format!("http://{server}/");
    assert_eq!(docker.exec(from, &["wget", "-q", "-O", "-", &url]).ok(), format!("{to}\n"));
    let after = forwarded();
    assert!(after >= before + 5, "{from} to {to}: {before} {after}");
}

#[test]
fn five_containers_come_and_go() {
    lab_with("five_containers_come_and_go", DOCKER_TOOLS, |lab| {
        let docker = lab.docker();
        let watch = lab.spawn_in(Where::Own, &[XHOP, "watch"]);
        for name in NAMES {
            docker.run(name);
        }
        for name in NAMES {
            is_joined(lab, &docker, &watch, name);
        }
        hops(lab, &docker, "one", "five");
        hops(lab, &docker, "four", "two");

        docker.restart("two");
        is_joined(lab, &docker, &watch, "two");
        hops(lab, &docker, "two", "three");

        docker.rename("four", "quattro");
        is_joined(lab, &docker, &watch, "quattro");
        hops(lab, &docker, "quattro", "one");
        docker.rename("quattro", "four");
        is_joined(lab, &docker, &watch, "four");

        // The next one gets the address of the one that has gone.
        let address = docker.address("three");
        docker.remove("three");
        wait_until(PATIENCE, "three is taken out", || member_at(lab, &address).is_none());
        docker.run("six");
        assert_eq!(docker.address("six"), address, "Docker gives it again");
        is_joined(lab, &docker, &watch, "six");
        hops(lab, &docker, "one", "six");

        docker.network(&["disconnect", "bridge", "five"]);
        wait_until(PATIENCE, "four are joined", || lab.members().len() == 4);
        docker.network(&["connect", "bridge", "five"]);
        is_joined(lab, &docker, &watch, "five");
        hops(lab, &docker, "five", "six");

        // A network of its own is another bridge; one that keeps its containers apart is none at all.
        docker.network(&["create", "other"]);
        docker.network(&["connect", "other", "one"]);
        docker.network(&["connect", "other", "two"]);
        wait_until(PATIENCE, "two are joined there too", || lab.members().len() == 7);
        docker.network(&["create", "--opt=com.docker.network.bridge.enable_icc=false", "apart"]);
        docker.network(&["connect", "apart", "four"]);
        docker.network(&["connect", "apart", "six"]);
        wait_until(PATIENCE, "it is told", || watch.stderr().contains("enable_icc=false"));
        assert_eq!(lab.members().len(), 7);
    });
}

/// Whoever comes and goes, the others are not disturbed.
#[test]
fn a_neighbour_restarts_again_and_again() {
    lab_with("a_neighbour_restarts_again_and_again", DOCKER_TOOLS, |lab| {
        let docker = lab.docker();
        let watch = lab.spawn_in(Where::Own, &[XHOP, "watch"]);
        for name in ["one", "two", "three"] {
            docker.run(name);
        }
        for name in ["one", "two", "three"] {
            is_joined(lab, &docker, &watch, name);
        }
        hops(lab, &docker, "one", "two");
        let url = format!("http://{}/", docker.address("two"));
        let script = "while /bin/busybox wget -q -O - $0; do :; done";
        let mut fetching = docker.spawn("one", &["sh", "-c", script, &url]);
        for _ in 0..CYCLES {
            let before = fetching.stdout().len();
            docker.restart("three");
            is_joined(lab, &docker, &watch, "three");
            wait_until(PATIENCE, "pages go on coming", || fetching.stdout().len() > before);
        }
        hops(lab, &docker, "three", "one");
        assert!(fetching.alive(), "{}", fetching.stderr());
        let pages = fetching.stdout();
        assert_eq!(pages.replace("two\n", ""), "", "all of it is two's page");
        // 50 that are gone have left nothing.
        assert_eq!(lab.members().len(), 3);
    });
}

/// The containers outlive it, and stay joined.
#[test]
fn the_engine_restarts() {
    lab_with("the_engine_restarts", DOCKER_TOOLS, |lab| {
        let mut docker = lab.docker();
        let watch = lab.spawn_in(Where::Own, &[XHOP, "watch"]);
        for name in ["one", "two"] {
            docker.run(name);
        }
        for name in ["one", "two"] {
            is_joined(lab, &docker, &watch, name);
        }
        let (before, told) = (lab.members(), watch.stdout());
        let pids = ["one", "two"].map(|name| docker.pid(name));
        docker.restart_engine(|| {
            assert_eq!(lab.members(), before);
            // Something comes and goes, so that all is looked at.
            lab.ok_in(Where::Own, &["ip", "link", "add", "other", "type", "bridge"]);
            lab.ok_in(Where::Own, &["ip", "link", "del", "other"]);
        });
        assert_eq!(["one", "two"].map(|name| docker.pid(name)), pids, "they have outlived it");
        hops(lab, &docker, "one", "two");
        assert_eq!(watch.stdout(), told, "nothing was done");
        // It is listened to again.
        docker.rename("two", "due");
        is_joined(lab, &docker, &watch, "due");
        docker.restart("due");
        is_joined(lab, &docker, &watch, "due");
        hops(lab, &docker, "due", "one");
    });
}
