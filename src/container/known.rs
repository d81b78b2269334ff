//! What an engine knows of its containers.

use super::json::Json;

/// A container.
#[derive(PartialEq, Eq, Debug)]
pub struct Known {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name; its id if it has none.
    pub name: String,
}

impl Known {
    /// Those that an engine lists, which has ids and names by these keys; `None` if it lists something else.
    pub fn all(list: &Json, id: &str, names: &str) -> Option<Vec<Self>> {
        let Json::List(list) = list else { return None };
        let mut all = Vec::new();
        for entry in list {
            let id = entry.at(id).text()?;
            // Docker's begin with a slash; with another in it, it is what a third container calls this one.
            let mut names = entry.at(names).list().iter().filter_map(Json::text);
            let name = names.find_map(|name| {
                let name = name.strip_prefix('/').unwrap_or(name);
                (!name.contains('/')).then_some(name)
            });
            all.push(Self { id: id.into(), name: name.unwrap_or(id).into() });
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str, id: &str, names: &str) -> Option<Vec<(String, String)>> {
        let all = Known::all(&serde_json::from_str(text).expect("JSON"), id, names)?;
        Some(all.into_iter().map(|known| (known.id, known.name)).collect())
    }

    #[test]
    fn in_the_words_of_docker_and_podman() {
        let docker = r#"[{"Id": "0123456789abcdef", "Names": ["/other/alias", "/web"], "Image": "i",
            "HostConfig": {"NetworkMode": "default"}}, {"Id": "f0", "Names": null}]"#;
        let podman = r#"[{"id": "0123456789abcdef", "names": ["web"], "layer": "l",
            "flags": {"ProcessLabel": "", "Volatile": true}}, {"id": "f0"}]"#;
        let both = [("0123456789abcdef", "web"), ("f0", "f0")];
        let both = both.map(|(id, name)| (id.to_owned(), name.to_owned())).to_vec();
        assert_eq!(known(docker, "Id", "Names"), Some(both.clone()));
        assert_eq!(known(podman, "id", "names"), Some(both));
        assert_eq!(known("[]", "id", "names"), Some(Vec::new()));
        for bad in
            ["{}", "null", "[1]", "[{}]", r#"[{"id": 1}]"#, r#"[{"Id": "a"}]"#, r#"[["id"]]"#]
        {
            assert_eq!(known(bad, "id", "names"), None, "{bad}");
        }
        let odd = r#"[{"id": "a", "names": {"a": 1}}, {"id": "b", "names": ["", "/", "a/b", 1]}]"#;
        let odd = known(odd, "id", "names").expect("containers");
        assert_eq!(odd[0].1, "a");
    }
}
