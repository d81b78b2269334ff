//! What this process may do: capabilities(7), from /proc/self/status.

use crate::{Error, Result};

const NET_ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN");
const PERFMON: (u32, &str) = (38, "CAP_PERFMON");
const BPF: (u32, &str) = (39, "CAP_BPF");

/// The needed capabilities that this process has not. `CAP_SYS_ADMIN` (for setns(2)) includes
/// `CAP_BPF` and `CAP_PERFMON`.
pub fn missing() -> Result<Vec<&'static str>> {
    let path = "/proc/self/status";
    let status = std::fs::read_to_string(path).map_err(Error::io(path))?;
    Ok(missing_from(&status))
}

fn missing_from(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let has = |(bit, _)| effective >> bit & 1 == 1;
    let admin = has(SYS_ADMIN);
    [NET_ADMIN, SYS_ADMIN, BPF, PERFMON]
        .into_iter()
        .filter(|cap| !has(*cap) && !(admin && (*cap == BPF || *cap == PERFMON)))
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::missing_from;

    #[test]
    fn tells_what_is_missing() {
        let all = ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_BPF", "CAP_PERFMON"];
        assert_eq!(missing_from("Name:\tx\nCapEff:\t0000000000000000\n"), all);
        assert_eq!(missing_from(""), all);
        assert!(missing_from("CapEff:\t000001ffffffffff\n").is_empty());
        // NET_ADMIN and SYS_ADMIN alone are enough.
        assert!(missing_from("CapEff:\t0000000000201000\n").is_empty());
        assert_eq!(missing_from("CapEff:\t0000008000001000\n"), ["CAP_SYS_ADMIN", "CAP_PERFMON"]);
    }
}
