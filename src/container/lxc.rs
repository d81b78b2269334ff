//! LXC: what a container is called.

/// Its name: by the title of its monitor, or else (with `lxc-start --foreground`) by the cgroups of its
/// first process.
pub fn container(monitor: &[String], cgroups: impl FnOnce() -> String) -> Option<String> {
    // LXD's and Incus' have it too: `[lxc monitor] FOLDER NAME`.
    let title = monitor.first().and_then(|word| word.strip_prefix("[lxc monitor] "));
    match title {
        Some(title) => title.rsplit(' ').next().map(str::to_owned),
        None => cgroups().lines().find_map(payload).map(str::to_owned),
    }
}

/// The outermost in a line of cgroups(7): `lxc.payload.NAME`, before LXC 4 `lxc.payload/NAME` or `lxc/NAME`.
fn payload(line: &str) -> Option<&str> {
    let mut parts = line.splitn(3, ':').nth(2)?.split('/');
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
        let title = |text: &str| container(&[text.into()], || unreachable!());
        assert_eq!(title("[lxc monitor] /var/lib/lxc web").as_deref(), Some("web"));
        assert_eq!(title("[lxc monitor] /srv/with space/lxc web").as_deref(), Some("web"));
    }

    #[test]
    fn by_the_cgroup() {
        let of = |cgroups: &str| container(&["lxc-start".into()], || cgroups.into());
        for cgroups in [
            "0::/lxc.payload.web\n",
            "0::/lxc.payload.web/system.slice/ssh.service\n",
            "0::/user.slice/user-1000.slice/user@1000.service/lxc.payload.web\n",
            "9:name=systemd:/\n8:pids:/lxc/web\n0::/\n",
            "4:memory:/lxc.payload/web\n",
            "0::/lxc.payload.web/lxc.payload.inner\n",
        ] {
            assert_eq!(of(cgroups).as_deref(), Some("web"), "{cgroups}");
        }
        for cgroups in ["", "0::/\n", "0::/lxc.monitor.web\n", "0::/lxc\n", "lxc/web", "0:/lxc/web"]
        {
            assert_eq!(of(cgroups), None, "{cgroups}");
        }
        assert_eq!(container(&[], || String::new()), None);
    }
}
