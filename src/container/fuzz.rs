//! What others write, at random: nothing of it makes xhop panic, and no name comes out of it that is no name.

use proptest::prelude::*;

use super::json::Json;
use super::known::Known;
use super::{docker, lxc, nspawn, running};

/// JSON as engines write it, but for what is in it.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let key = prop_oneof![
        Just("Id".into()),
        Just("id".into()),
        Just("Names".into()),
        Just("names".into()),
        ".{0,4}"
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[/a-z]{0,4}".prop_map(Into::into),
        ".{0,4}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn lists_of_engines(value in json()) {
        let read: Json = serde_json::from_slice(value.to_string().as_bytes()).expect("JSON");
        let known = Known::all(&read, "id", "names");
        // serde_json's own reading is the oracle.
        let ids = value.as_array().and_then(|list| list.iter().map(|entry| entry["id"].as_str()).collect::<Option<Vec<_>>>());
        prop_assert_eq!(known.as_ref().map(Vec::len), ids.as_ref().map(Vec::len));
        for (known, id) in known.iter().flatten().zip(ids.iter().flatten()) {
            prop_assert_eq!(&known.id, id);
        }
    }

    #[test]
    fn bytes_that_are_no_list(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
        prop_assert_eq!(serde_json::from_slice::<Json>(&bytes).is_ok(), theirs.is_ok());
        let _ = docker::body(&bytes);
    }

    #[test]
    fn lines_of_proc(text in r"[-0-9:. a-z/\n\x00]{0,40}", part in "(/?lxc|lxc.payload|/systemd/nspawn/propagate/| 0:39 |-id|\\[lxc monitor\\] ){0,3}") {
        for text in [format!("{part}{text}"), format!("{text}{part}"), text] {
            let named = |name: &str| text.contains(name);
            prop_assert!(lxc::container(&text, &text).is_none_or(named));
            prop_assert!(nspawn::mounted(&text, "0:39").is_none_or(named));
            prop_assert!(running::after(&text, "-id").is_none_or(named));
        }
    }
}
