//! What the doctor says of the pair, and what it has to say of one that was broken in one way.

use serde_json::Value;

use super::{HOST, Lab, Pair, Where};

/// What the doctor says of `a` and `b`, and its exit code.
pub fn asked(lab: &Lab) -> (Value, Option<i32>) {
    let done = lab.xhop(&["doctor", "a", "b", "--json"]);
    let mut told: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}\n{done}"));
    // That is another test's; here it would only hide what a failure shows.
    assert!(told["kernel"].take().is_object());
    (told, done.status.code())
}

/// The causes that are found, in their order.
pub fn causes(told: &Value) -> Vec<&str> {
    let findings = told["findings"].as_array().expect("findings");
    findings.iter().map(|finding| finding["cause"].as_str().expect("a cause")).collect()
}

/// The pair is ill of this alone, as far as one cause can be told; the finding.
pub fn ill_of(lab: &Lab, cause: &str) -> Value {
    let (told, code) = asked(lab);
    assert_eq!((code, &told["healthy"]), (Some(1), &false.into()), "{told:#}");
    assert!(causes(&told).iter().all(|found| *found == cause), "not {cause} alone: {told:#}");
    let finding = told["findings"].get(0).unwrap_or_else(|| panic!("nothing: {told:#}")).clone();
    for part in ["means", "on", "found", "remedy"] {
        assert!(finding[part].as_str().is_some_and(|text| !text.is_empty()), "{finding:#}");
    }
    // People are told the same.
    let said = lab.xhop(&["doctor", "a", "b"]);
    for part in ["means", "on", "found", "remedy"] {
        let text = finding[part].as_str().expect("text");
        // Numbers are of each run.
        let text = text.split(|c: char| c.is_ascii_digit()).next().expect("a beginning");
        assert!(said.stdout.contains(text), "`{text}` is not in {said}");
    }
    finding
}

/// A part of a finding contains these words.
pub fn says(finding: &Value, part: &str, words: &[&str]) {
    let text = finding[part].as_str().expect("text");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in the {part} of {finding:#}");
    }
}

/// The finding's remedy does mend it.
pub fn mends(lab: &Lab, finding: &Value) {
    follow(lab, finding);
    is_healthy(lab);
}

/// Does what the remedy says between its first backquotes.
pub fn follow(lab: &Lab, finding: &Value) {
    let remedy = finding["remedy"].as_str().expect("a remedy");
    let command = remedy.split('`').nth(1).unwrap_or_else(|| panic!("no command in {remedy}"));
    match command.strip_prefix("xhop ") {
        Some(args) => lab.xhop(&args.split(' ').collect::<Vec<_>>()).ok(),
        None => lab.ok_in(Where::Own, &command.split(' ').collect::<Vec<_>>()),
    };
}

pub fn is_healthy(lab: &Lab) -> Value {
    let (told, code) = asked(lab);
    assert_eq!((code, causes(&told)), (Some(0), vec![]), "{told:#}");
    assert_eq!(told["healthy"], true);
    told
}

/// Two containers, joined.
pub fn joined<'l>(lab: &'l Lab, args: &[&str]) -> Pair<'l> {
    let pair = lab.pair();
    lab.xhop(&[&["up", "a", "b"], args].concat()).ok();
    pair
}

pub fn host_veth(lab: &Lab, words: &str) {
    let argv: Vec<&str> = words.split(' ').collect();
    lab.ok_in(HOST, &[&["ip", "link", "set"], &argv[..]].concat());
}
