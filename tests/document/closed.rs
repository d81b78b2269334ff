//! Closed sets: the enums that are printed by their names, as the source has them.

use std::collections::BTreeSet;

/// A file, an enum in it, and the fields that have one of its values: all are printed in kebab case.
type Closed = (&'static str, &'static str, &'static [&'static str]);

macro_rules! source {
    ($path:literal) => {
        include_str!(concat!("../../", $path))
    };
}

const VERDICTS: &[&str] = &["counter.verdict", "verdict.verdict", "xhop capture, a packet.verdict"];

pub const CLOSED: [Closed; 18] = [
    (source!("src/plan/way.rs"), "Datapath", &["member.datapath"]),
    (source!("src/plan/way.rs"), "Chosen", &["member.chosen"]),
    (source!("src/plan/way.rs"), "ChecksumWay", &["member.checksum"]),
    (
        source!("src/plan/way.rs"),
        "Attach",
        &["member.attach", "action/forward.attach", "action/inside.attach"],
    ),
    (source!("src/plan/way.rs"), "Spot", &["action/forward.spot"]),
    (source!("src/plan/member.rs"), "Readiness", &["member.readiness"]),
    (source!("src/plan/member.rs"), "SizeOf", &["size.what"]),
    (source!("src/plan/chain/mod.rs"), "Ready", &["stop.ready"]),
    (source!("src/plan/fact.rs"), "Sense", &["action.sense"]),
    (source!("src/plan/fact.rs"), "Fact", &["action"]),
    (source!("src/cmd/status/mod.rs"), "State", &["joined.state"]),
    (source!("src/cmd/status/chains.rs"), "State", &["running chain.state"]),
    (source!("src/cmd/doctor/answer.rs"), "Answer", &["tried.answer"]),
    (source!("src/cmd/doctor/probe.rs"), "Kind", &["probe.kind"]),
    (source!("src/cmd/doctor/cause.rs"), "Cause", &["diagnosis.cause"]),
    (source!("src/audit/finding.rs"), "Verdict", &["finding.verdict"]),
    (source!("asm/src/lint/finding.rs"), "Rule", &["broken rule.rule"]),
    (source!("asm/src/blocks/count.rs"), "Verdict", VERDICTS),
];

/// Whether the values of this field are compared with the source.
pub fn is_closed(field: &str) -> bool {
    CLOSED.iter().any(|(.., fields)| fields.contains(&field))
}

/// What the enum's variants are called in JSON.
pub fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let (_, body) = source.split_once(&format!("enum {name} {{\n")).expect("an enum");
    let (body, _) = body.split_once("\n}").expect("its end");
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let lines = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    lines.map(|line| kebab(line.split([',', ' ', '(']).next().unwrap_or_default())).collect()
}

fn kebab(camel: &str) -> String {
    let mut kebab = String::new();
    for (at, letter) in camel.chars().enumerate() {
        kebab.extend((at > 0 && letter.is_ascii_uppercase()).then_some('-'));
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}
