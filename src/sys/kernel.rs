//! Which kernel runs: uname(2).

use crate::{Error, Result};

/// Its version: `(6, 18)` for `6.18.44-foo`. For hints and for choosing among paths that can't be
/// probed; a feature that can be tried is tried.
pub fn release() -> Result<(u32, u32)> {
    let name = nix::sys::utsname::uname().map_err(Error::sys("uname", "this host"))?;
    Ok(parse(&name.release().to_string_lossy()))
}

/// Numbers that are missing are zero.
fn parse(release: &str) -> (u32, u32) {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_releases() {
        assert_eq!(parse("6.18.44-foo"), (6, 18));
        assert_eq!(parse("5.10-rc1"), (5, 10));
        assert_eq!(parse("odd"), (0, 0));
        assert!(release().expect("uname") >= (3, 0));
    }
}
