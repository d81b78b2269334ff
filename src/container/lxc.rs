//! LXC: what a container is called.

/// Its name: by the title of its monitor, or else (with `lxc-start --foreground`) by the cgroups of its
/// first process.
pub fn container<'a>(monitor: &'a str, cgroups: &'a str) -> Option<&'a str> {
    // LXD's and Incus' have it too: `[lxc monitor] FOLDER NAME`.
    match monitor.strip_prefix("[lxc monitor] ") {
        Some(title) => title.split('\0').next()?.split(' ').reduce(|_, last| last),
        None => cgroups.split('\n').find_map(payload),
    }
}

/// The outermost in a line of cgroups(7): `lxc.payload.NAME`, before LXC 4 `lxc.payload/NAME` or `lxc/NAME`.
fn payload(line: &str) -> Option<&str> {
    let mut parts = line.split('/');
    while let Some(part) = parts.next() {
        match part.strip_prefix("lxc.payload.") {
            Some(name) => return Some(name),
            None if part == "lxc.payload" || part == "lxc" => return parts.next(),
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_title() {
        let cgroups = "0::/lxc.payload.web-1\n";
        for folder in ["/var/lib/lxc", "/srv/with space/lxc"] {
            assert_eq!(container(&format!("[lxc monitor] {folder} web\0\0"), cgroups), Some("web"));
        }
    }

    #[test]
    fn by_the_cgroup() {
        for cgroups in [
            "0::/lxc.payload.web\n",
            "0::/lxc.payload.web/system.slice/ssh.service\n",
            "0::/user.slice/user-1000.slice/user@1000.service/lxc.payload.web\n",
            "9:name=systemd:/\n8:pids:/lxc/web\n0::/\n",
            "4:memory:/lxc.payload/web\n",
            "0::/lxc.payload.web/lxc.payload.inner\n",
        ] {
            assert_eq!(container("lxc-start", cgroups), Some("web"), "{cgroups}");
        }
        for cgroups in ["", "0::/\n", "0::/lxc.monitor.web\n", "0::/lxc\n"] {
            assert_eq!(container("", cgroups), None, "{cgroups}");
        }
    }
}
