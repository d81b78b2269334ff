//! Two real Docker containers on docker0.

mod lab;

use std::time::Duration;

use lab::audit::{caught, clean};
use lab::{DOCKER_TOOLS, Docker, Lab, Where, assert_same, counter, lab_with, wait_until};

/// The host side of a container's veth, in the kernel's words.
fn veth(lab: &Lab, docker: &Docker, name: &str) -> String {
    let index = docker.exec(name, &["cat", "/sys/class/net/eth0/iflink"]).ok();
    let index: u64 = index.trim().parse().expect("an index");
    let links = lab.json(Where::Own, &["ip", "-j", "link", "show"]);
    let found = links.as_array().into_iter().flatten().find(|link| link["ifindex"] == index);
    found.and_then(|link| link["ifname"].as_str()).expect("the host side").to_owned()
}

/// The laboratory, and the links and features inside of the containers, whose namespaces have no name.
fn everything(lab: &Lab, docker: &Docker, names: &[&str]) -> String {
    let mut facts = vec![lab.everything()];
    for name in names {
        let pid = docker.pid(name).to_string();
        let inside = ["nsenter", "--net", "--target", &pid];
        for command in [["ethtool", "-k", "eth0"].as_slice(), &["ip", "-d", "-o", "link", "show"]] {
            let shown = lab.ok_in(Where::Own, &[&inside, command].concat());
            facts.extend(shown.lines().map(|line| format!("{name}: {line}")));
        }
    }
    facts.join("\n")
}

/// Waits until the kernel has finished with the addresses of the bridges, which Docker does not.
fn settle(lab: &Lab) {
    wait_until(Duration::from_secs(20), "no address is tentative", || {
        lab.ok_in(Where::Own, &["ip", "-6", "addr", "show", "tentative"]).is_empty()
    });
}

/// Both ways: ping and HTTP.
fn talk(docker: &Docker) {
    for (from, to) in [("alpha", "beta"), ("beta", "alpha")] {
        let address = docker.address(to);
        docker.exec(from, &["ping", "-c", "2", "-W", "2", &address]).ok();
        let url = format!("http://{address}/");
        let page = docker.exec(from, &["wget", "-q", "-O", "-", &url]).ok();
        assert_eq!(page, format!("{to}\n"));
    }
}

/// They talk directly, and the bridge sees nothing of it, or the other way round.
fn talk_by(lab: &Lab, docker: &Docker, direct: bool) {
    let bridge = lab.found_bridge(Where::Own, "docker0");
    let forwarded = || match direct {
        true => ["docker:alpha", "docker:beta"]
            .map(|name| counter(&lab.member(name), "forwarded", "packets")),
        false => [bridge.forwarded(); 2],
    };
    let (before, seen) = (forwarded(), bridge.forwarded());
    talk(docker);
    let after = forwarded();
    // At least 4 of ping, and 5 of HTTP each way.
    assert!((0..2).all(|n| after[n] >= before[n] + 9), "{before:?} {after:?}");
    assert_eq!(bridge.forwarded() == seen, direct, "the bridge has seen it, or not");
}

#[test]
fn two_containers_on_docker0() {
    let tools = [DOCKER_TOOLS, &["ebtables", "nsenter"]].concat();
    lab_with("two_containers_on_docker0", &tools, |lab| {
        let docker = lab.docker();
        docker.run("alpha");
        docker.run("beta");
        talk_by(lab, &docker, false);
        settle(lab);
        lab.refuses(&["up", "docker:alpha", "docker:nobody"], &["docker:nobody", "docker ps"]);

        assert_eq!(lab.owner(docker.pid("alpha")).as_deref(), Some("docker:alpha"));
        let before = everything(lab, &docker, &["alpha", "beta"]);
        for (option, way) in [
            ("--checksum", "offload-off"),
            ("--checksum", "trust"),
            ("--datapath", "generic"),
            ("--checksum", "complete"),
            ("--datapath", "tc"),
        ] {
            lab.joins(&["docker:alpha", "docker:beta", option, way]);
            talk_by(lab, &docker, true);
        }
        assert_eq!(lab.member("docker:alpha")["datapath"], "tc");

        // All names of the two are the same two.
        let id = docker.inspect("beta", "{{.Id}}");
        let hosts = ["alpha", "beta"].map(|name| format!("veth:{}", veth(lab, &docker, name)));
        let pids = ["alpha", "beta"].map(|name| format!("pid:{}", docker.pid(name)));
        let short = format!("docker:{}", &id[..12]);
        for names in [
            ["alpha", "beta"],
            ["docker:alpha", &short],
            ["alpha", &id[..12]],
            [&hosts[0], &hosts[1]],
            [&pids[0], &pids[1]],
            [&pids[0], "beta"],
        ] {
            assert_eq!(lab.xhop(&["up", names[0], names[1]]).ok(), "nothing to do\n", "{names:?}");
        }
        lab.refuses(&["up", "alpha", &pids[0]], &["same container"]);

        lab.xhop(&["down", "beta", &hosts[0]]).ok();
        assert_same(&before, &everything(lab, &docker, &["alpha", "beta"]));
        talk_by(lab, &docker, false);

        // Joined under other names, taken out by Docker's.
        lab.xhop(&["up", &hosts[0], &pids[1]]).ok();
        talk(&docker);
        lab.xhop(&["down", "alpha", &short]).ok();
        assert_same(&before, &everything(lab, &docker, &["alpha", "beta"]));

        restarted(lab, &docker);
    });
}

fn restarted(lab: &Lab, docker: &Docker) {
    lab.joins(&["alpha", "beta", "--datapath", "native"]);
    docker.restart("beta");
    assert_eq!(lab.member("docker:beta")["state"], "gone");
    caught(lab, &[("attached", " is gone")]);
    talk(docker);
    lab.joins(&["alpha", "beta", "--datapath", "native"]);
    assert_eq!(lab.member("docker:beta")["state"], "up");
    clean(lab);
    talk_by(lab, docker, true);

    for by in ["generic", "tc"] {
        lab.joins(&["alpha", "beta", "--datapath", by]);
        docker.restart("beta");
        assert_eq!(lab.member("docker:beta")["state"], "gone");
        talk(docker);
        lab.joins(&["alpha", "beta", "--datapath", by]);
        talk_by(lab, docker, true);
    }
    lab.xhop(&["down", "--all"]).ok();
    docker.remove("beta");
    lab.refuses(
        &["up", "alpha", "docker:beta"],
        &["docker:beta", "no such container", "docker ps"],
    );
}

#[test]
fn a_stopped_container() {
    lab_with("a_stopped_container", DOCKER_TOOLS, |lab| {
        let docker = lab.docker();
        docker.run("alpha");
        docker.run("beta");
        lab.ok_in(Where::Own, &["docker", "--host=unix:///run/docker.sock", "kill", "beta"]);
        settle(lab);
        lab.refuses(&["up", "alpha", "beta"], &["docker:beta", "not running", "docker start beta"]);
    });
}

#[test]
fn networks_that_are_kept_apart() {
    lab_with("networks_that_are_kept_apart", DOCKER_TOOLS, |lab| {
        let docker = lab.docker();
        let call = |args: &[&str]| {
            lab.ok_in(Where::Own, &[&["docker", "--host=unix:///run/docker.sock"], args].concat())
        };
        let icc = "com.docker.network.bridge.enable_icc=false";
        call(&["network", "create", "--opt", icc, "apart"]);
        for name in ["alpha", "beta"] {
            docker.run(name);
            call(&["network", "connect", "apart", name]);
        }
        // It keeps docker0 up when the others leave it.
        docker.run("gamma");
        settle(lab);
        // On two bridges at once: which is meant?
        lab.refuses(&["up", "alpha", "beta"], &["docker0", "br-", "veth:"]);
        for name in ["alpha", "beta"] {
            call(&["network", "disconnect", "bridge", name]);
        }
        lab.refuses(&["up", "alpha", "beta"], &["br-", "enable_icc=false", "--force"]);
        let address = docker.inspect("beta", "{{.NetworkSettings.Networks.apart.IPAddress}}");
        let ping = || docker.exec("alpha", &["ping", "-c", "1", "-W", "1", &address]);
        assert!(!ping().status.success(), "Docker does not keep them apart");
        lab.xhop(&["up", "alpha", "beta", "--force"]).ok();
        assert!(ping().status.success());
        lab.xhop(&["down", "--all"]).ok();
        assert!(!ping().status.success());
    });
}
