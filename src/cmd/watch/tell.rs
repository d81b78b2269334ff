//! What `watch` tells: a line for each thing that it did, or could not do.

use serde::Serialize;

use crate::cmd::{put, say, warn};

/// Tells people, or programs.
#[derive(Clone, Copy)]
pub struct Teller {
    /// An object a line.
    pub json: bool,
}

/// Something that was done, or was not.
#[derive(Serialize)]
pub struct Event<'a> {
    /// Of this form.
    pub version: u32,
    /// `watching`, `joined`, `left`, `mended`, `named`, `failed` or `warning`
    pub event: &'static str,
    /// The bridge's name.
    pub bridge: &'a str,
    /// The container's, or that of its host side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<&'a str>,
    /// What was mended, how it was named, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<&'a str>,
    /// From the notice until it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

impl Teller {
    /// Tells it.
    pub fn tell(self, event: &Event) {
        if self.json {
            if let Ok(text) = serde_json::to_string(event) {
                put(format!("{text}\n").as_bytes());
            }
            return;
        }
        let Event { event: word, bridge, container, what, milliseconds, .. } = event;
        let container = container.map_or(String::new(), |name| format!(" {name}"));
        let what = what.map_or(String::new(), |what| format!(": {what}"));
        let time = milliseconds.map_or(String::new(), |time| format!(" in {time} ms"));
        let line = format!("{bridge}: {word}{container}{time}{what}");
        match *word {
            "failed" | "warning" => warn(format_args!("xhop: {line}")),
            _ => say(format_args!("{line}")),
        }
    }
}
