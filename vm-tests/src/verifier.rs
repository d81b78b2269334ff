//! What a program must keep to before it may run: a hook of `rbpf`'s, which calls it with the bytes.

use std::cell::RefCell;

use xhop_asm::lint::{Finding, lint};
use xhop_asm::{Hook, MapShape, Program};

use crate::error::{Error, Place};

/// The hook is a bare function: what else it needs, and what it finds, goes by this.
#[derive(Default)]
struct Rules {
    on: Hook,
    maps: Vec<MapShape>,
    findings: Vec<Finding>,
}

thread_local! {
    static HOOK: RefCell<Rules> = RefCell::default();
}

/// Lets `rbpf` check the program that it holds, by our rules. Errors: what breaks them.
pub(crate) fn verify(rbpf: &mut rbpf::EbpfVmMbuff, program: &Program) -> Result<(), Error> {
    let maps = program.maps().iter().map(MapShape::from).collect();
    HOOK.set(Rules { on: program.hook(), maps, findings: Vec::new() });
    let result = rbpf.set_verifier(hook);
    let Rules { findings, .. } = HOOK.take();
    let told = |finding: &Finding| match Place::of(program, finding.slot) {
        Some(place) => format!("{}: {}: {place}", finding.rule.name(), finding.what),
        None => finding.to_string(),
    };
    result.map_err(|_| Error::Refused {
        program: program.name().to_owned(),
        reason: findings.iter().map(told).collect::<Vec<_>>().join("; "),
    })
}

fn hook(bytes: &[u8]) -> Result<(), rbpf::lib::Error> {
    HOOK.with_borrow_mut(|hook| {
        hook.findings = lint(hook.on, bytes, &hook.maps).findings;
        match hook.findings.is_empty() {
            true => Ok(()),
            false => Err(rbpf::lib::Error::new(rbpf::lib::ErrorKind::Other, "refused")),
        }
    })
}
