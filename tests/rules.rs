//! Rules of the host that name who is joined are found: by nft(8), iptables(8) and ebtables(8), by address, prefix, set,
//! interface and translation.

mod lab;

use std::collections::BTreeMap;

use lab::{Lab, Pair, RULE_TOOLS, Rule, Where, lab_with, not_tried};

/// Two who are joined, on a bridge of xhop's own namespace that has this address.
fn joined<'l>(lab: &'l Lab, address: &str) -> Pair<'l> {
    let pair = lab.pair_at(Where::Own);
    pair.bridge.address(address);
    lab.xhop(&["up", "netns:a", "netns:b"]).ok();
    pair
}

/// The Ethernet address of `netns:a`.
fn mac_of_a(lab: &Lab) -> String {
    lab.member("netns:a")["mac"].as_str().expect("an address").to_owned()
}

/// What each rule names, by its chain: "10.9.0.2 veth-a". Only of rules by this tool.
fn named(lab: &Lab, by: &str) -> BTreeMap<String, String> {
    let rules = lab.rules();
    let rules = rules.iter().filter(|rule| rule.by == by);
    rules.map(|rule| (rule.chain(), rule.whats())).collect()
}

/// Each of these rules is put into a chain of its own: `c0`, `c1`, ...; what it is to name.
fn as_written(cases: &[(&str, &str)]) -> BTreeMap<String, String> {
    let named = cases.iter().enumerate().filter(|(_, (_, names))| !names.is_empty());
    named.map(|(at, (_, names))| (format!("c{at}"), (*names).to_owned())).collect()
}

#[test]
fn rules_of_nft() {
    lab_with("rules_of_nft", RULE_TOOLS, |lab| {
        let _pair = joined(lab, "10.9.0.1/24");
        let mac_a = mac_of_a(lab);
        let by_mac = format!("ether saddr {mac_a} drop");
        let cases = [
            ("ip saddr 10.9.0.2 drop", "10.9.0.2"),
            ("ip saddr 10.9.0.2 ip daddr 10.9.0.3 drop", "10.9.0.2 10.9.0.3"),
            ("ip6 daddr fd09::3 accept", "fd09::3"),
            ("ip6 saddr fd09::2 ip6 daddr fd09::3 accept", "fd09::2 fd09::3"),
            ("ip saddr != 10.9.0.3 drop", "10.9.0.3"),
            ("ip saddr 10.9.0.2/31 drop", "10.9.0.2 10.9.0.3"),
            ("ip daddr 10.9.0.0/25 drop", "10.9.0.2 10.9.0.3"),
            ("ip saddr & 255.255.255.254 == 10.9.0.2 drop", "10.9.0.2 10.9.0.3"),
            ("ip6 saddr fd09::/120 drop", "fd09::2 fd09::3"),
            ("ip saddr 10.9.0.3-10.9.0.7 drop", "10.9.0.3"),
            ("ip saddr != 10.9.0.3-10.9.0.7 drop", "10.9.0.3"),
            ("ip saddr < 10.9.0.3 drop", "10.9.0.2"),
            ("ip saddr >= 10.9.0.3 drop", "10.9.0.3"),
            ("ip saddr { 10.9.0.3, 10.9.0.9 } drop", "10.9.0.3"),
            ("ip saddr { 10.9.0.3-10.9.0.9, 10.8.0.0/16 } drop", "10.9.0.3"),
            ("ip saddr != { 10.9.0.3, 10.9.0.9 } drop", "10.9.0.3"),
            ("ip saddr @named drop", "10.9.0.2"),
            ("ip saddr @ranges drop", "10.9.0.2 10.9.0.3"),
            ("ip saddr . tcp dport { 10.9.0.3 . 80, 10.9.0.9 . 80 } drop", "10.9.0.3"),
            ("ip saddr . tcp dport { 10.9.0.3-10.9.0.9 . 80-90 } drop", "10.9.0.3"),
            ("tcp dport . ip6 daddr { 80 . fd09::3 } drop", "fd09::3"),
            ("iifname . ip saddr { \"veth-a\" . 10.9.0.3 } drop", "veth-a 10.9.0.3"),
            ("ip daddr vmap { 10.9.0.3 : drop, 10.9.0.64/26 : accept }", "10.9.0.3"),
            ("iifname \"veth-a\" drop", "veth-a"),
            ("iif veth-a drop", "veth-a"),
            ("oifname \"veth-*\" drop", "veth-a veth-b"),
            ("oifname != \"veth-b\" drop", "veth-b"),
            ("iifname { \"veth-a\", \"eth*\" } drop", "veth-a"),
            (&by_mac, mac_a.as_str()),
            ("ct original ip saddr 10.9.0.2 drop", "10.9.0.2"),
            ("iifname \"br0\" ip saddr 10.9.0.2 drop", "10.9.0.2"),
            ("ip saddr 10.9.0.2 jump other", "10.9.0.2"),
            // Masks with holes.
            ("ip saddr & 0.0.0.255 == 0.0.0.2 drop", "10.9.0.2"),
            ("ip saddr & 0.0.0.255 != 0.0.0.3 drop", "10.9.0.3"),
            ("ip saddr 10.9.0.2 ip daddr & 0.0.0.255 > 0.0.0.2 drop", "10.9.0.2 10.9.0.3"),
            ("ip6 daddr & ::ffff == ::3 drop", "fd09::3"),
            ("ip saddr & 255.0.255.0 == 10.0.0.0 drop", ""),
            ("ip saddr & 0.0.0.255 == 0.0.0.4 drop", ""),
            // With more in the same registers, or of a connection.
            ("ip saddr 10.9.0.2 tcp option maxseg size > 536 drop", "10.9.0.2"),
            ("ip saddr 10.9.0.2 rt ip nexthop 10.9.0.1 drop", "10.9.0.2"),
            ("ip saddr 10.9.0.3 ct original ip daddr 10.8.0.1 accept", "10.9.0.3"),
            ("ip daddr 10.9.0.2 ct original ip saddr 10.9.0.2 accept", "10.9.0.2"),
            // Nobody in particular, or somebody else.
            ("ip saddr 10.9.0.0/24 drop", ""),
            ("ip saddr 10.0.0.0/8 drop", ""),
            ("ip saddr != 10.9.0.0/24 drop", ""),
            ("ip6 saddr fd09::/64 drop", ""),
            ("ip saddr 10.9.0.4 drop", ""),
            ("ip saddr 10.9.0.4-10.9.0.200 drop", ""),
            ("ip saddr { 10.9.0.1, 10.9.0.4-10.9.0.9 } drop", ""),
            ("ip saddr . tcp dport { 10.9.0.4-10.9.0.9 . 80-90 } drop", ""),
            ("tcp dport 80 drop", ""),
            ("iifname \"br0\" drop", ""),
            ("iifname \"veth\" drop", ""),
            ("iifname \"ethx*\" drop", ""),
            ("ether saddr 02:00:00:00:00:01 drop", ""),
            ("ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00 drop", ""),
            // For others than what hops.
            ("iifname \"eth7\" ip daddr 10.9.0.2 drop", ""),
            ("iifname != \"br0\" ip daddr 10.9.0.2 drop", ""),
            ("ip saddr 10.9.0.2 ip daddr 10.9.0.2 drop", ""),
            ("ip saddr 10.9.0.2 ip daddr 8.8.8.8 drop", ""),
            ("ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24 accept", ""),
            ("ip saddr 10.9.0.2 ip daddr & 0.0.0.255 == 0.0.0.9 drop", ""),
            ("ip6 saddr 2001:db8::/32 ip6 daddr fd09::3 accept", ""),
            ("ip saddr 10.9.0.2 ether daddr 02:00:00:00:00:01 drop", ""),
        ];
        let mut lines = vec![
            "add table inet t".into(),
            "add chain inet t other".into(),
            "add set inet t named { type ipv4_addr; elements = { 10.9.0.2, 10.9.0.200 }; }".into(),
            "add set inet t ranges { type ipv4_addr; flags interval; \
             elements = { 10.9.0.2/31, 10.9.0.4 }; }"
                .into(),
        ];
        for (at, (rule, _)) in cases.iter().enumerate() {
            lines.push(format!("add chain inet t c{at}"));
            lines.push(format!("add rule inet t c{at} {rule}"));
        }
        lab.nft(&lines);
        assert_eq!(named(lab, "nftables"), as_written(&cases));
        let rules = lab.rules();
        let does = |chain: &str| {
            let found = rules.iter().find(|rule| rule.chain() == chain);
            found.expect("a rule").does.as_str()
        };
        assert_eq!(
            [does("c0"), does("c2"), does("c22"), does("c31")],
            ["drop", "accept", "vmap", "jump other"]
        );
    });
}

#[test]
fn translations_interfaces_and_other_families() {
    lab_with("translations_interfaces_and_other_families", RULE_TOOLS, |lab| {
        let _pair = joined(lab, "10.9.0.1/24");
        // In which family, and with what hook.
        let cases = [
            ("inet", "type nat hook prerouting priority 0", "dnat ip to 10.9.0.2", "10.9.0.2"),
            (
                "ip",
                "type nat hook prerouting priority 0",
                "tcp dport 80 dnat to 10.9.0.3:8080",
                "10.9.0.3",
            ),
            (
                "ip6",
                "type nat hook postrouting priority 0",
                "snat to fd09::2-fd09::4",
                "fd09::2 fd09::3",
            ),
            (
                "ip",
                "type nat hook prerouting priority 0",
                "dnat to ip daddr map { 10.9.1.1 : 10.9.0.3 }",
                "10.9.0.3",
            ),
            (
                "ip",
                "type nat hook prerouting priority 0",
                "meta l4proto tcp dnat to tcp dport map { 80 : 10.9.0.3 . 8080 }",
                "10.9.0.3",
            ),
            ("ip", "type filter hook forward priority 0", "ip daddr 10.9.0.3 drop", "10.9.0.3"),
            ("bridge", "type filter hook forward priority 0", "ip daddr 10.9.0.3 drop", "10.9.0.3"),
            ("bridge", "type filter hook forward priority 0", "iifname \"veth-a\" drop", "veth-a"),
            (
                "bridge",
                "type filter hook forward priority 0",
                "iifname != \"br0\" ip saddr 10.9.0.2 drop",
                "10.9.0.2",
            ),
            ("bridge", "type filter hook forward priority 0", "ip6 saddr fd09::2 drop", "fd09::2"),
            (
                "netdev",
                "type filter hook ingress device veth-a priority 0",
                "tcp dport 80 drop",
                "veth-a",
            ),
            ("netdev", "type filter hook ingress device br0 priority 0", "tcp dport 80 drop", ""),
            (
                "netdev",
                "type filter hook ingress device lo priority 0",
                "ip saddr 10.9.0.2 drop",
                "",
            ),
            (
                "netdev",
                "type filter hook ingress devices = { lo, veth-b } priority 0",
                "ip saddr 10.9.0.2 drop",
                "10.9.0.2 veth-b",
            ),
            ("inet", "type filter hook ingress device veth-b priority 0", "drop", "veth-b"),
            ("netdev", "type filter hook egress device veth-b priority 0", "drop", "veth-b"),
            ("arp", "type filter hook input priority 0", "arp saddr ip 10.9.0.2 drop", ""),
            // To the host itself, or from it.
            ("inet", "type filter hook input priority 0", "ip saddr 10.9.0.2 accept", ""),
            ("inet", "type filter hook output priority 0", "ip daddr 10.9.0.2 accept", ""),
            ("bridge", "type filter hook input priority 0", "ip saddr 10.9.0.2 drop", ""),
            ("ip", "type nat hook output priority 0", "ip daddr 10.8.0.1 dnat to 10.9.0.2", ""),
            // From one who is joined to others.
            (
                "ip",
                "type nat hook postrouting priority 0",
                "ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24 masquerade",
                "",
            ),
            (
                "ip",
                "type nat hook postrouting priority 0",
                "ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24 snat to 192.0.2.1",
                "",
            ),
            // What was to others gets to one who is joined.
            (
                "ip",
                "type nat hook prerouting priority 0",
                "ip saddr 10.9.0.2 ip daddr 10.8.0.1 dnat to 10.9.0.3",
                "10.9.0.2 10.9.0.3",
            ),
            (
                "ip",
                "type nat hook prerouting priority 0",
                "ip daddr 10.8.0.1 dnat to tcp dport map { 80 : 10.9.0.3 }",
                "10.9.0.3",
            ),
        ];
        let mut lines = Vec::new();
        for (at, (family, hook, rule, _)) in cases.iter().enumerate() {
            lines.push(format!("add table {family} t{at}"));
            lines.push(format!("add chain {family} t{at} c{at} {{ {hook}; }}"));
            lines.push(format!("add rule {family} t{at} c{at} {rule}"));
        }
        lab.nft(&lines);
        let expected: Vec<(&str, &str)> =
            cases.iter().map(|(.., rule, names)| (*rule, *names)).collect();
        assert_eq!(named(lab, "nftables"), as_written(&expected));
    });
}

#[test]
fn rules_of_iptables() {
    lab_with("rules_of_iptables", RULE_TOOLS, |lab| {
        let _pair = joined(lab, "10.9.0.1/24");
        let mac_a = mac_of_a(lab);
        let by_mac = format!("-m mac --mac-source {mac_a} -j DROP");
        let v4 = [
            ("-s 10.9.0.2 -j DROP", "10.9.0.2"),
            ("-s 10.9.0.2 -d 10.9.0.3 -j ACCEPT", "10.9.0.2 10.9.0.3"),
            ("! -s 10.9.0.3 -j DROP", "10.9.0.3"),
            ("-d 10.9.0.2/31 -j DROP", "10.9.0.2 10.9.0.3"),
            ("-d 10.9.0.0/26 -j DROP", "10.9.0.2 10.9.0.3"),
            ("-i veth-a -j DROP", "veth-a"),
            ("-o veth+ -j DROP", "veth-a veth-b"),
            ("! -o veth-b -j RETURN", "veth-b"),
            ("-m iprange --src-range 10.9.0.3-10.9.0.9 -j DROP", "10.9.0.3"),
            ("-m iprange ! --dst-range 10.9.0.3-10.9.0.9 -j DROP", "10.9.0.3"),
            ("-m physdev --physdev-is-bridged --physdev-in veth-a -j DROP", "veth-a"),
            (&by_mac, mac_a.as_str()),
            ("-i br0 -o br0 -s 10.9.0.2 -p tcp --dport 80 -j DROP", "10.9.0.2"),
            ("-s 0.0.0.2/0.0.0.255 -j DROP", "10.9.0.2"),
            ("-s 10.9.0.2 -d 10.9.0.0/24 -j ACCEPT", "10.9.0.2"),
            ("-s 10.9.0.0/24 -j DROP", ""),
            ("-s 10.0.0.0/8 -j DROP", ""),
            ("-s 10.9.0.4 -d 10.9.0.1 -j DROP", ""),
            ("-i br0 -j DROP", ""),
            ("-i vet -j DROP", ""),
            ("-i eth7 -d 10.9.0.2 -j DROP", ""),
            ("-p tcp --dport 80 -j DROP", ""),
            ("-j DROP", ""),
            // As Docker has them for a published port.
            ("! -i br0 -o br0 -d 10.9.0.2 -p tcp --dport 80 -j ACCEPT", ""),
            ("-s 10.9.0.2 -d 10.9.0.2 -p tcp --dport 80 -j ACCEPT", ""),
            // From one who is joined to others.
            ("-s 10.9.0.2 -d 8.8.8.8 -j DROP", ""),
            ("-s 10.9.0.2 ! -d 10.9.0.0/24 -j DROP", ""),
            ("-s 10.9.0.2 -m iprange ! --dst-range 10.9.0.2-10.9.0.9 -j DROP", ""),
        ];
        let v6 = [
            ("-s fd09::2 -j DROP", "fd09::2"),
            ("! -d fd09::3 -j DROP", "fd09::3"),
            ("-d fd09::/120 -i veth-b -j DROP", "fd09::2 fd09::3 veth-b"),
            ("-m iprange --src-range fd09::3-fd09::9 -j DROP", "fd09::3"),
            ("-d fd09::/64 -j DROP", ""),
            ("-s fd09::4 -j DROP", ""),
            ("-s fd09::2 -d 2001:db8::1 -j DROP", ""),
        ];
        for (kind, by) in [("nft", "nftables"), ("legacy", "")] {
            for (command, cases) in [("iptables", &v4[..]), ("ip6tables", &v6[..])] {
                let tool = format!("{command}-{kind}");
                let run = |line: String| {
                    let words: Vec<&str> = line.split(' ').collect();
                    lab.ok_in(Where::Own, &[&[tool.as_str()], &words[..]].concat());
                };
                for (at, (rule, _)) in cases.iter().enumerate() {
                    run(format!("-N c{at}"));
                    run(format!("-A FORWARD -j c{at}"));
                    run(format!("-A c{at} {rule}"));
                }
                let by = if by.is_empty() { &tool } else { by };
                assert_eq!(named(lab, by), as_written(cases), "{tool}");
                run("-F".into());
            }
        }
    });
}

#[test]
fn translations_of_iptables_and_rules_of_ebtables() {
    lab_with("translations_of_iptables_and_rules_of_ebtables", RULE_TOOLS, |lab| {
        let _pair = joined(lab, "10.9.0.1/24");
        let commands = [
            "iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.9.0.3:80",
            "iptables-legacy -t nat -A POSTROUTING -d 10.8.0.1 -j SNAT --to-source 10.9.0.2",
            "iptables-legacy -t nat -A OUTPUT -d 10.8.0.1 -j DNAT --to-destination 10.9.0.1",
            "iptables-legacy -t mangle -A FORWARD -s 10.9.0.2 -j MARK --set-mark 1",
            "ip6tables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination [fd09::3]:80",
            "iptables-nft -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.9.0.2:80",
            "iptables-nft -t nat -A POSTROUTING -d 10.8.0.1 -j SNAT --to-source 10.9.0.3",
            "ip6tables-nft -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination [fd09::2]:80",
            "ebtables-nft -A FORWARD -p IPv4 --ip-src 10.9.0.2 -j DROP",
            "ebtables-nft -A FORWARD -i veth-a -j DROP",
            "ebtables-nft -A FORWARD --logical-in br0 -j DROP",
            // Not for what hops.
            "iptables-legacy -t nat -A POSTROUTING -s 10.9.0.2 ! -d 10.9.0.0/24 -j MASQUERADE",
            "iptables-legacy -A INPUT -s 10.9.0.2 -p tcp --dport 5432 -j ACCEPT",
            "iptables-legacy -A OUTPUT -d 10.9.0.2 -j ACCEPT",
            "iptables-nft -t nat -A POSTROUTING -s 10.9.0.2 ! -d 10.9.0.0/24 -j MASQUERADE",
            "iptables-nft -A INPUT -s 10.9.0.2 -p tcp --dport 5432 -j ACCEPT",
            "ip6tables-nft -t nat -A OUTPUT -p tcp --dport 80 -j DNAT --to-destination [fd09::2]:80",
            "ebtables-nft -A OUTPUT -p IPv4 --ip-dst 10.9.0.2 -j DROP",
            // Of a chain of the user's own behind these it is not known who goes there.
            "iptables-legacy -N mine",
            "iptables-legacy -A mine -s 10.9.0.2 -j ACCEPT",
        ];
        let mut done = 0;
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            let run = lab.run_in(Where::Own, &words);
            if run.stderr.contains("not supported") && command.contains("--logical-in") {
                not_tried("--logical-in", "this kernel has no NFT_BRIDGE_META");
                continue;
            }
            run.ok();
            done += 1;
        }
        assert!(done >= commands.len() - 1);
        let told = |rule: &Rule| {
            format!("{} {} {} {}", rule.by, rule.place, rule.does, rule.names.join(", "))
        };
        let mut told: Vec<_> = lab.rules().iter().map(told).collect();
        told.sort();
        let want = [
            "ip6tables-legacy nat PREROUTING DNAT fd09::3 of netns:b",
            "iptables-legacy filter mine ACCEPT 10.9.0.2 of netns:a",
            "iptables-legacy mangle FORWARD MARK 10.9.0.2 of netns:a",
            "iptables-legacy nat POSTROUTING SNAT 10.9.0.2 of netns:a",
            "iptables-legacy nat PREROUTING DNAT 10.9.0.3 of netns:b",
            "nftables bridge filter FORWARD drop 10.9.0.2 of netns:a",
            "nftables bridge filter FORWARD drop veth-a of netns:a",
            "nftables ip nat POSTROUTING SNAT 10.9.0.3 of netns:b",
            "nftables ip nat PREROUTING DNAT 10.9.0.2 of netns:a",
            "nftables ip6 nat PREROUTING DNAT fd09::2 of netns:a",
        ];
        assert_eq!(told, want);
    });
}
