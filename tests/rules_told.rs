//! Of rules of the host that name who is joined, `up`, `status` and `watch` tell; asking for them changes nothing.

mod lab;

use std::fs;
use std::time::{Duration, Instant};

use lab::{DOCKER_TOOLS, RULE_TOOLS, Where, XHOP, lab_with, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
const LEGACY: [&str; 2] =
    ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

#[test]
fn up_warns_of_a_handful() {
    lab_with("up_warns_of_a_handful", RULE_TOOLS, |lab| {
        // Not in xhop's own namespace: rules are where the bridge is.
        let pair = lab.pair();
        let own = "add table ip own; add chain ip own c; add rule ip own c ip saddr 10.9.0.2 drop";
        lab.ok_in(Where::Own, &["nft", own]);
        let warned = |args: &[&str]| {
            let done = lab.xhop(&[&["up", "netns:a", "netns:b"], args].concat());
            let stderr = done.stderr.clone();
            done.ok();
            let lines = stderr.lines().filter(|line| !line.contains("br_netfilter is on"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(warned(&[]), [] as [&str; 0]);
        let at = &pair.bridge.at;
        lab.ok_in(at, &["nft", "add table ip t; add chain ip t c"]);
        lab.ok_in(at, &["nft", "add rule ip t c ip saddr { 10.9.0.2, 10.9.0.3 } drop"]);
        let one = "xhop: warning: the nftables rule `ip t c handle 3` (drop) names 10.9.0.2 of netns:a, \
                   10.9.0.3 of netns:b: what hops goes round it";
        assert_eq!(warned(&["--dry-run"]), [one]);
        assert_eq!(warned(&[]), [one]);
        for port in 1..=6 {
            let rule = format!("add rule ip t c ip saddr 10.9.0.2 tcp dport {port} accept");
            lab.ok_in(at, &["nft", &rule]);
        }
        let told = warned(&[]);
        assert_eq!(told.len(), 6, "{told:?}");
        assert!(told[5].starts_with("xhop: warning: and 2 more of such rules"), "{told:?}");
        let shown = lab.json(Where::Own, &[XHOP, "up", "netns:a", "netns:b", "--json"]);
        let warnings = shown["warnings"].as_array().expect("warnings").iter();
        let texts: Vec<_> = warnings
            .map(|text| format!("xhop: warning: {}", text.as_str().expect("text")))
            .collect();
        assert!(told[..5].iter().all(|line| texts.contains(line)), "{shown}");
        let is_of_rule = |line: &&String| line.contains(" rule `") || line.contains("such rules");
        assert_eq!(texts.iter().filter(is_of_rule).count(), 7, "all of them, and no more: {shown}");
        let said = lab.xhop(&["status"]).ok();
        assert!(said.contains(one.trim_start_matches("xhop: ")), "{said}");
        assert_eq!(lab.rules().len(), 7);
        // By bridge, the same.
        let on_bridge = lab.bridge_at(Where::Own, "br1");
        on_bridge.container("c", "10.8.0.2/24", "fd08::2/64");
        on_bridge.container("d", "10.8.0.3/24", "fd08::3/64");
        lab.ok_in(Where::Own, &["nft", "add rule ip own c ip saddr 10.8.0.2 drop"]);
        let done = lab.xhop(&["up", "--bridge", "br1"]);
        assert!(
            done.stderr.contains("`ip own c handle 3` (drop) names 10.8.0.2 of netns:c"),
            "{done}"
        );
    });
}

#[test]
fn who_was_joined_before_is_no_stranger() {
    lab_with("who_was_joined_before_is_no_stranger", RULE_TOOLS, |lab| {
        let pair = lab.pair_at(Where::Own);
        lab.xhop(&["up", "netns:a", "netns:b"]).ok();
        pair.bridge.container("c", "10.9.0.4/24", "fd09::4/64");
        lab.nft(&[
            "add table bridge t; add chain bridge t c".into(),
            "add rule bridge t c ip saddr 10.9.0.4 ip daddr 10.9.0.2 drop".into(),
            "add rule bridge t c ip saddr 10.9.0.4 ip daddr != 10.9.0.4-10.9.0.9 drop".into(),
            "add rule bridge t c iifname \"veth-c\" oifname \"veth-a\" drop".into(),
            "add rule bridge t c ip saddr 10.9.0.4 ip daddr 10.9.0.5 drop".into(),
        ]);
        // a and b are not looked for, but what c sends them hops.
        let done = lab.xhop(&["up", "netns:c"]);
        let told = done.stderr.matches(" rule `").count();
        assert_eq!(told, 3, "{done}");
        for what in ["handle 2", "handle 3", "handle 4"] {
            assert!(done.stderr.contains(&format!("`bridge t c {what}` (drop)")), "{done}");
        }
        done.ok();
        assert_eq!(lab.rules().len(), 3);
    });
}

#[test]
fn watch_warns_once_of_who_comes() {
    lab_with("watch_warns_once_of_who_comes", RULE_TOOLS, |lab| {
        let bridge = lab.bridge_at(Where::Own, "br0");
        let [rule, other] =
            ["10.9.0.3", "10.9.0.2"].map(|a| format!("add rule ip t c ip saddr {a} drop"));
        lab.ok_in(Where::Own, &["nft", "add table ip t; add chain ip t c"]);
        lab.ok_in(Where::Own, &["nft", &rule]);
        let mut watch = lab.spawn_in(Where::Own, &[XHOP, "watch", "--bridge", "br0", "--json"]);
        wait_until(PATIENCE, "it watches", || watch.stdout().contains("watching"));
        let join = |name: &str, n: u8| {
            bridge.container(name, &format!("10.9.0.{n}/24"), &format!("fd09::{n}/64"));
        };
        join("a", 2);
        join("b", 3);
        let told = || {
            let text = watch.stdout();
            let events = text.lines().map(|line| serde_json::from_str(line).expect("an object"));
            let of_rules = |event: &Value| {
                event["what"].as_str().is_some_and(|what| what.contains("nftables rule"))
            };
            events.filter(of_rules).collect::<Vec<Value>>()
        };
        wait_until(PATIENCE, "it tells of the rule", || told().len() == 1);
        let event = &told()[0];
        assert_eq!(
            (&event["event"], &event["bridge"]),
            (&"warning".into(), &"br0".into()),
            "{event}"
        );
        // Who comes later is the only one told of then, whatever rules have come for others.
        lab.ok_in(Where::Own, &["nft", &other]);
        join("c", 4);
        wait_until(PATIENCE, "c is joined", || lab.members().len() == 3);
        assert_eq!(told().len(), 1);
        watch.signal(Signal::SIGTERM);
        wait_until(PATIENCE, "watch ends", || !watch.alive());
        let told = watch.stdout().matches("nftables rule").count();
        assert_eq!(told, 1, "{}", watch.stdout());
    });
}

#[test]
fn asking_changes_nothing() {
    lab_with("asking_changes_nothing", RULE_TOOLS, |lab| {
        let _pair = lab.pair_at(Where::Own);
        let facts = || {
            let [v4, v6] =
                lab.in_netns(Where::Own, || LEGACY.map(|path| fs::read_to_string(path).ok()));
            let mut modules: Vec<String> = fs::read_to_string("/proc/modules")
                .unwrap_or_default()
                .lines()
                .filter_map(|line| line.split(' ').next().map(str::to_owned))
                .filter(|name| ["nf", "xt", "ip"].iter().any(|of| name.starts_with(of)))
                .collect();
            modules.sort();
            (v4, v6, modules)
        };
        // None of nft's before the first look: it would load what it needs.
        let before = facts();
        assert!(before.0.as_ref().is_none_or(String::is_empty), "{before:?}");
        let ask = || {
            lab.xhop(&["up", "netns:a", "netns:b"]).ok();
            lab.xhop(&["status"]).ok();
            lab.run_in(Where::Own, &[XHOP, "doctor", "netns:a", "netns:b"]);
        };
        ask();
        assert_eq!(facts(), before);
        // With one table there, it is the only one.
        lab.ok_in(
            Where::Own,
            &["iptables-legacy", "-t", "mangle", "-A", "FORWARD", "-s", "10.9.0.2", "-j", "DROP"],
        );
        lab.ok_in(
            Where::Own,
            &["nft", "add table ip t; add chain ip t c; add rule ip t c ip saddr 10.9.0.2 counter"],
        );
        let rules = || lab.ok_in(Where::Own, &["nft", "-a", "list", "ruleset"]);
        let (before, had) = (facts(), rules());
        assert_eq!(before.0.as_deref(), Some("mangle\n"));
        ask();
        assert_eq!((facts(), rules()), (before, had));
        assert_eq!(lab.rules().len(), 2);
    });
}

#[test]
fn what_can_not_be_asked_is_told() {
    lab_with("what_can_not_be_asked_is_told", &[RULE_TOOLS, &["strace"]].concat(), |lab| {
        let _pair = lab.pair_at(Where::Own);
        let strace = |inject: &[&str], args: &[&str]| {
            let strace = ["strace", "-qq", "-o", "/run/trace", "-e", "trace=socket"];
            lab.run_in(
                Where::Own,
                &[&strace[..], inject, &[XHOP, "up", "netns:a", "netns:b"], args].concat(),
            )
        };
        strace(&[], &["--dry-run"]).ok();
        let trace = fs::read_to_string("/run/trace").expect("a trace");
        let nth =
            trace.lines().position(|line| line.contains("NETLINK_NETFILTER")).expect("it asks") + 1;
        let inject = format!("inject=socket:error=EACCES:when={nth}");
        let done = strace(&["-e", &inject], &[]);
        let words = "xhop: warning: could not tell whether rules of the host name who is joined: netlink socket on ";
        assert!(done.stderr.contains(words), "{done}");
        done.ok();
        assert_eq!(lab.members().len(), 2);
        // A kernel that has no such thing has no such rules.
        let inject = format!("inject=socket:error=EPROTONOSUPPORT:when={nth}");
        let done = strace(&["-e", &inject], &[]);
        assert!(!done.stderr.contains("could not tell"), "{done}");
        done.ok();
    });
}

#[test]
fn many_rules_are_read_soon() {
    lab_with("many_rules_are_read_soon", RULE_TOOLS, |lab| {
        let pair = lab.pair_at(Where::Own);
        pair.bridge.address("10.9.0.1/16");
        lab.xhop(&["up", "netns:a", "netns:b"]).ok();
        let mut lines = vec!["add table ip t".to_owned()];
        // As kube-proxy has them: a chain for each of whom it forwards to.
        for at in 0..5_000 {
            let address = format!("10.9.{}.{}", 1 + at / 250, at % 250);
            lines.push(format!("add chain ip t c{at}"));
            lines.push(format!("add rule ip t c{at} ip saddr {address} counter"));
            lines.push(format!("add rule ip t c{at} meta l4proto tcp dnat to {address}:80"));
        }
        lines.push("add rule ip t c0 ip saddr 10.9.0.3 drop".into());
        lab.nft(&lines);
        let begun = Instant::now();
        let rules = lab.rules();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(rules.len(), 1, "{rules:?}");
    });
}

#[test]
fn very_many_sets_are_not_all_looked_into() {
    lab_with("very_many_sets_are_not_all_looked_into", RULE_TOOLS, |lab| {
        let _pair = lab.pair_at(Where::Own);
        let mut lines = vec!["add table ip t".to_owned(), "add chain ip t c".to_owned()];
        lines.push("add rule ip t c ip daddr { 10.9.0.2, 10.9.0.9 } drop".to_owned());
        for _ in 0..1_100 {
            lines.push("add rule ip t c ip saddr { 10.8.0.2, 10.8.0.3 } drop".to_owned());
        }
        lines.push("add rule ip t c ip daddr 10.9.0.3 drop".to_owned());
        lab.nft(&lines);
        let begun = Instant::now();
        let done = lab.xhop(&["up", "netns:a", "netns:b"]);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        for words in
            ["names 10.9.0.2", "names 10.9.0.3", "could not tell whether rules of the host"]
        {
            assert!(done.stderr.contains(words), "{words}: {done}");
        }
        done.ok();
    });
}

#[test]
fn what_docker_writes_is_no_warning() {
    lab_with("what_docker_writes_is_no_warning", &[RULE_TOOLS, DOCKER_TOOLS].concat(), |lab| {
        let docker = lab.docker();
        docker.run("web");
        docker.run("db");
        docker.publish("site", 8080);
        let listed = lab.ok_in(Where::Own, &["iptables-save"]);
        assert!(listed.contains("172.17.0.4:80"), "Docker has rules for it: {listed}");
        let done = lab.xhop(&["up", "--bridge", "docker0"]);
        assert!(!done.stderr.contains(" rule `"), "{done}\n{listed}");
        done.ok();
        assert!(lab.rules().is_empty(), "{listed}");
        // What an operator has written is one.
        lab.ok_in(Where::Own, &["iptables", "-I", "DOCKER-USER", "-s", "172.17.0.2", "-j", "DROP"]);
        let done = lab.xhop(&["up", "--bridge", "docker0"]);
        assert!(done.stderr.contains("(drop) names 172.17.0.2 of docker:web"), "{done}");
    });
}
