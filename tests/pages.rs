//! What is installed beside the binary, in `share`: made from the command line itself, so that it is never
//! another. `XHOP_BLESS=1 cargo test --test pages` writes it anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use xhop::cli::Cli;

const SOURCE: &str = concat!("xhop ", env!("CARGO_PKG_VERSION"));

/// Each file, by its path below `share`.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    let mut put = |path: String, bytes: Vec<u8>| {
        pages.insert(path.into(), String::from_utf8(bytes).expect("text"));
    };
    let mut cli = Cli::command();
    for (shell, file) in
        [(Shell::Bash, "xhop.bash"), (Shell::Zsh, "_xhop"), (Shell::Fish, "xhop.fish")]
    {
        let mut bytes = Vec::new();
        generate(shell, &mut cli, "xhop", &mut bytes);
        put(format!("completions/{file}"), bytes);
    }
    // Names and usages as a user types them.
    cli.build();
    let commands = cli.get_subcommands().filter(|command| command.get_name() != "help");
    for command in commands.chain([&cli]) {
        let name = match command.get_name() {
            "xhop" => "xhop".to_owned(),
            name => format!("xhop-{name}"),
        };
        let (mut bytes, page) = (Vec::new(), command.clone());
        Man::new(page)
            .title(name.as_str())
            .source(SOURCE)
            .date("")
            .render(&mut bytes)
            .expect("a page");
        put(format!("man/{name}.1"), bytes);
    }
    pages
}

/// Those that are there; what is written by hand is not among them.
fn found(share: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for folder in ["completions", "man"] {
        for entry in fs::read_dir(share.join(folder)).into_iter().flatten().flatten() {
            let path = Path::new(folder).join(entry.file_name());
            found.insert(path, fs::read_to_string(entry.path()).expect("text"));
        }
    }
    found
}

#[test]
fn pages_and_completions_are_those_of_this_command_line() {
    let share = Path::new(env!("CARGO_MANIFEST_DIR")).join("share");
    let (pages, found) = (pages(), found(&share));
    if std::env::var_os("XHOP_BLESS").is_some_and(|value| value == "1") {
        for path in found.keys().filter(|path| !pages.contains_key(*path)) {
            fs::remove_file(share.join(path)).expect("a page that goes");
        }
        for (path, text) in &pages {
            let path = share.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a page");
        }
        return;
    }
    let names = |pages: &BTreeMap<PathBuf, String>| pages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&pages), "run it with XHOP_BLESS=1");
    for (path, text) in &pages {
        assert!(found[path] == *text, "{} is old: run it with XHOP_BLESS=1", path.display());
    }
}

/// The shells themselves find nothing wrong with them.
#[test]
fn shells_take_the_completions() {
    let file =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("share/completions").join(name);
    let script = format!(
        "source {}; COMP_WORDS=(xhop sta); COMP_CWORD=1; _xhop xhop sta xhop; echo \"${{COMPREPLY[*]}}\"",
        file("xhop.bash").display()
    );
    let done = std::process::Command::new("bash").args(["-c", &script]).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "status", "{done:?}");
}
