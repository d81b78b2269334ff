//! Words of commands that people are told to paste. A container's root names its interfaces as he likes.

use std::fmt::Write;

/// The text as one word of a shell's, whatever is in it. What is not printable, and a backquote, which would end
/// the command for the reader, stand as octal numbers in `$'...'` (POSIX.1-2024, 2.2.4).
pub fn word(text: impl ToString) -> String {
    let text = text.to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@:/-".contains(&byte);
    let is_shown = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'`';
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    if text.bytes().all(is_shown) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut quoted = String::from("$'");
    for byte in text.bytes() {
        let done = match byte {
            b'\'' | b'\\' => write!(quoted, "\\{}", char::from(byte)),
            _ if is_shown(byte) => write!(quoted, "{}", char::from(byte)),
            _ => write!(quoted, "\\{byte:03o}"),
        };
        // A string takes all.
        let _ = done;
    }
    quoted + "'"
}

/// The text as a terminal may be given it: what would steer it is escaped.
pub fn shown(text: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn words_as_they_look() {
        for plain in ["eth0", "eth0.7@x", "netns:a", "/proc/7/ns/net", "docker:web_1-x"] {
            assert_eq!(word(plain), plain);
        }
        assert_eq!(word(""), "''");
        assert_eq!(word("$(reboot)"), "'$(reboot)'");
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word("a`b'\\"), r"$'a\140b\'\\'");
        assert_eq!(word("\x1b[2J\u{202e}"), r"$'\033[2J\342\200\256'");
        assert_eq!(shown("a\x1b[2J\n"), "a\\u{1b}[2J\\n");
    }

    /// What a shell makes of them is the text again.
    #[test]
    fn a_shell_reads_them() {
        for text in
            ["eth0", "$(reboot)", "it's", "a;b|c&d", "`x`", "\x1b\x01'\\é", "a\n1", "-", "~", "*"]
        {
            let command = format!("printf %s {}", word(text));
            let done = Command::new("bash").args(["-c", &command]).output();
            // Not everybody has this one.
            let Ok(done) = done else { return };
            assert_eq!(String::from_utf8_lossy(&done.stdout), text, "{command}");
        }
    }
}
