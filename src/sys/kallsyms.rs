//! The kernel's own symbols: where its functions are (/proc/kallsyms).

use std::io::ErrorKind;

use crate::{Error, Result};

/// From which the calls of translated programs count (kernel/bpf/core.c).
const BASE: &str = "__bpf_call_base";

/// Functions that programs call, by their distance from where calls count.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Functions {
    found: Vec<(String, i32)>,
}

impl Functions {
    /// Looks for functions of these names now. Where addresses are hidden from us
    /// (kernel.kptr_restrict), or where there is no such list, none is found.
    pub fn find(names: &[&str]) -> Result<Self> {
        let path = "/proc/kallsyms";
        match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            text => {
                let text = text.map_err(Error::io(path))?;
                Ok(Self::parse(&String::from_utf8_lossy(&text), names))
            }
        }
    }

    /// The same from the file's text.
    pub(crate) fn parse(text: &str, names: &[&str]) -> Self {
        let symbols = text.lines().filter_map(symbol);
        let wanted = symbols.filter(|(name, _)| *name == BASE || names.contains(name));
        let wanted: Vec<(&str, u64)> = wanted.collect();
        let base = wanted.iter().find(|(name, _)| *name == BASE).map_or(0, |(_, at)| *at);
        let distance = |at: u64| i32::try_from(at.wrapping_sub(base) as i64).ok();
        let found = wanted.iter().filter(|(_, at)| base != 0 && *at != 0);
        let found = found.filter_map(|(name, at)| Some(((*name).to_owned(), distance(*at)?)));
        Self { found: found.collect() }
    }

    /// Whether the call of this immediate is of one of `names`; `None` if it can't be told.
    pub fn is_one_of(&self, imm: i32, names: &[&str]) -> Option<bool> {
        // The kernel hides the addresses in programs for the same reason.
        if self.found.is_empty() {
            return None;
        }
        Some(self.found.iter().any(|(name, at)| *at == imm && names.contains(&name.as_str())))
    }
}

/// A function's name, without what a compiler appended (`.isra.0`), and its address.
fn symbol(line: &str) -> Option<(&str, u64)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let name = words.nth(1)?;
    // A fourth word is a module's name.
    match words.next() {
        None => Some((name.split('.').next().unwrap_or(name), address)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_from_the_base() {
        let text = "ffffffff81000100 T f.isra.0\nffffffff81000000 T __bpf_call_base\n\
            ffffffff80ffff00 t g\nffffffff81000100 t h\t[module]\nodd\n";
        let functions = Functions::parse(text, &["f", "g", "h"]);
        assert_eq!(functions.is_one_of(0x100, &["f"]), Some(true));
        assert_eq!(functions.is_one_of(-0x100, &["g", "f"]), Some(true));
        assert_eq!(functions.is_one_of(0x100, &["h", "g"]), Some(false));
        assert_eq!(functions.is_one_of(0, &["f"]), Some(false));
        let hidden = text.replace("ffffffff81", "0000000000").replace("000001", "000000");
        assert_eq!(Functions::parse(&hidden, &["f"]).is_one_of(0, &["f"]), None);
    }
}
