//! What a program must keep to before it may run: a hook of `rbpf`'s, which calls it with the bytes.

use std::cell::RefCell;

use xhop_asm::MapDecl;

use crate::error::Error;

/// The hook is a bare function: what else it needs, and what it finds, goes by this.
#[derive(Default)]
struct Hook {
    maps: Vec<MapDecl>,
    findings: Vec<String>,
}

thread_local! {
    static HOOK: RefCell<Hook> = RefCell::default();
}

/// Lets `rbpf` check the program that it holds, by our rules. Errors: what breaks them.
pub(crate) fn verify(
    rbpf: &mut rbpf::EbpfVmMbuff,
    name: &str,
    maps: &[MapDecl],
) -> Result<(), Error> {
    HOOK.set(Hook { maps: maps.to_vec(), findings: Vec::new() });
    let result = rbpf.set_verifier(hook);
    let Hook { findings, .. } = HOOK.take();
    result.map_err(|_| Error::Refused { program: name.to_owned(), reason: findings.join("; ") })
}

fn hook(bytes: &[u8]) -> Result<(), rbpf::lib::Error> {
    HOOK.with_borrow_mut(|hook| {
        hook.findings = findings(bytes, &hook.maps);
        match hook.findings.is_empty() {
            true => Ok(()),
            false => Err(rbpf::lib::Error::new(rbpf::lib::ErrorKind::Other, "refused")),
        }
    })
}

/// What is wrong with a program, beyond what `rbpf` itself refuses.
fn findings(_bytes: &[u8], _maps: &[MapDecl]) -> Vec<String> {
    Vec::new()
}
