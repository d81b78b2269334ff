//! Rules of packet filters, by the tools that make them; and what xhop tells of them.

use std::fs;

use super::{Lab, Where, XHOP};

/// The tools, for [`super::lab_with`].
pub const TOOLS: &[&str] =
    &["nft", "iptables-nft", "iptables-legacy", "ip6tables-legacy", "ebtables-nft"];

/// A rule that names who is joined, as it is told.
#[derive(Debug)]
pub struct Rule {
    /// `nftables`
    pub by: String,
    /// `ip filter FORWARD`
    pub place: String,
    /// `drop`
    pub does: String,
    /// `10.9.0.2 of netns:a`
    pub names: Vec<String>,
}

impl Rule {
    /// Reads a warning; `None` if it is of something else.
    pub fn read(warning: &str) -> Option<Rule> {
        let (by, rest) = warning.strip_prefix("the ")?.split_once(" rule `")?;
        let (place, rest) = rest.split_once("` (")?;
        let (place, _number) = place.rsplit_once(' ').expect("a number");
        let (does, rest) = rest.split_once(") names ").expect("what it does");
        let names = rest.strip_suffix(": what hops goes round it").expect("what that means");
        let place = place.strip_suffix(" handle").unwrap_or(place);
        let [by, place, does] = [by, place, does].map(str::to_owned);
        Some(Rule { by, place, does, names: names.split(", ").map(str::to_owned).collect() })
    }

    /// Its chain.
    pub fn chain(&self) -> String {
        self.place.split(' ').next_back().expect("a chain").to_owned()
    }

    /// What is named, but not of whom: "10.9.0.2 veth-a".
    pub fn whats(&self) -> String {
        let whats = self.names.iter().map(|name| name.split(' ').next().unwrap_or_default());
        whats.collect::<Vec<_>>().join(" ")
    }
}

impl Lab {
    /// Gives nft these lines, in the laboratory's own namespace.
    pub fn nft(&self, lines: &[String]) {
        fs::write("/run/rules", lines.join("\n")).expect("a file in /run");
        self.ok_in(Where::Own, &["nft", "-f", "/run/rules"]);
    }

    /// The rules that name who is joined, as `xhop status --json` tells; all were read.
    pub fn rules(&self) -> Vec<Rule> {
        let status = self.json(Where::Own, &[XHOP, "status", "--json"]);
        let warnings = status["warnings"].as_array().expect("warnings").iter();
        let read = |warning: &serde_json::Value| {
            let warning = warning.as_str().expect("a text");
            Rule::read(warning).unwrap_or_else(|| panic!("{warning}"))
        };
        warnings.map(read).collect()
    }
}
