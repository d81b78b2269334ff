//! What an engine knows of its containers, in Docker's words or in podman's.

use serde::Deserialize;

use crate::{Error, Result};

/// A container.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// 64 hexadecimal digits.
    #[serde(alias = "Id")]
    pub id: String,
    #[serde(alias = "Names")]
    names: Option<Vec<String>>,
}

impl Known {
    /// Its name; the beginning of its id if it has none.
    pub fn name(&self) -> String {
        self.names().next().unwrap_or_else(|| short(&self.id)).to_owned()
    }

    /// Docker's begin with a slash; with another in it, it is what a third container calls this one.
    fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().flatten();
        names.map(|name| name.trim_start_matches('/')).filter(|name| !name.contains('/'))
    }
}

/// The beginning of an id, as engines show it.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The name of the container with this id.
pub fn name_of(id: &str, known: &[Known]) -> String {
    let found = known.iter().find(|known| known.id == id);
    found.map_or_else(|| short(id).to_owned(), Known::name)
}

/// The container with this name or id, or whose id alone begins so.
pub fn called<'a>(text: &str, known: &'a [Known]) -> Result<Option<&'a Known>> {
    let exact = |known: &&Known| known.id == text || known.names().any(|name| name == text);
    if let Some(known) = known.iter().find(exact) {
        return Ok(Some(known));
    }
    let found: Vec<_> = known.iter().filter(|known| known.id.starts_with(text)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => Err(Error::Ambiguous {
            name: text.into(),
            candidates: several.iter().map(|known| known.name()).collect::<Vec<_>>().join(", "),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_their_words() {
        let docker = r#"[{"Id": "0123456789abcdef", "Names": ["/other/alias", "/web"], "Image": "i"}, {"Id": "f0", "Names": null}]"#;
        let podman = r#"[{"id": "0123456789abcdef", "names": ["web"], "layer": "l", "flags": {"ProcessLabel": ""}}, {"id": "f0"}]"#;
        for text in [docker, podman] {
            let known: Vec<Known> = serde_json::from_str(text).expect("containers");
            assert_eq!(known[0].name(), "web");
            assert_eq!(known[1].name(), "f0");
            assert_eq!(name_of("0123456789abcdef", &known), "web");
            assert_eq!(name_of("1123456789abcdef", &known), "1123456789ab");
        }
    }

    #[test]
    fn names_before_ids_before_beginnings() {
        let known = |id: &str, name: &str| Known { id: id.into(), names: Some(vec![name.into()]) };
        let all =
            [known("ab01", "web"), known("ab02", "ab"), known("cd03", "db"), known("ce", "é")];
        let called = |text| called(text, &all).map(|found| found.map(|known| known.id.clone()));
        assert_eq!(called("web").ok(), Some(Some("ab01".into())));
        assert_eq!(called("ab").ok(), Some(Some("ab02".into())), "a name");
        assert_eq!(called("ab01").ok(), Some(Some("ab01".into())));
        assert_eq!(called("cd").ok(), Some(Some("cd03".into())), "the beginning of one");
        assert_eq!(called("x").ok(), Some(None));
        let error = called("c").expect_err("two begin so").to_string();
        assert!(error.contains("ambiguous") && error.contains("db"), "{error}");
    }
}
