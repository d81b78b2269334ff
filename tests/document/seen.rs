//! What was printed, held against the document.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Document, Field, Shape, Type};

/// What was seen until now.
pub struct Seen {
    pub document: Document,
    /// As [`Document::keys`]: fields with something in them, variants, and values.
    pub keys: BTreeSet<String>,
    /// All that is not as it is written down.
    pub wrong: BTreeSet<String>,
}

impl Seen {
    pub fn nothing() -> Self {
        let (keys, wrong) = Default::default();
        Self { document: Document::read(), keys, wrong }
    }

    /// Holds an object against the shape of this name.
    pub fn object(&mut self, shape: &str, value: &Value) {
        let Some(object) = value.as_object() else {
            self.wrong.insert(format!("{shape}: not an object"));
            return;
        };
        let (mut checks, mut known) = (Checks::default(), Vec::new());
        checks.fields(&self.document, shape, object, &mut known);
        let undocumented = object.keys().filter(|key| !known.contains(*key));
        self.wrong.extend(undocumented.map(|key| format!("{shape}.{key}: is not written down")));
        let Checks { keys, wrong, objects } = checks;
        self.keys.extend(keys);
        self.wrong.extend(wrong);
        for (shape, value) in objects {
            self.object(&shape, value);
        }
    }

    /// What is written down and was not seen.
    pub fn missing(&self) -> Vec<String> {
        let mut keys = self.document.keys();
        keys.retain(|key| !self.keys.contains(key));
        keys
    }
}

/// What one object has.
#[derive(Default)]
struct Checks<'v> {
    keys: Vec<String>,
    wrong: Vec<String>,
    /// Objects in it, and of which shape they are to be.
    objects: Vec<(String, &'v Value)>,
}

impl<'v> Checks<'v> {
    fn fields(
        &mut self,
        document: &Document,
        name: &str,
        object: &'v Map<String, Value>,
        known: &mut Vec<String>,
    ) {
        let shape = document.shape(name);
        self.of(document, name, shape, object, known);
        if shape.tag.is_empty() {
            return;
        }
        let tag = object.get(&shape.tag).and_then(Value::as_str).unwrap_or_default();
        let key = format!("{name}/{tag}");
        match shape.variants.get(tag) {
            Some(variant) => {
                self.of(document, &key, variant, object, known);
                self.keys.push(key);
            }
            None => self.wrong.push(format!("{key}: is not written down")),
        }
    }

    fn of(
        &mut self,
        document: &Document,
        name: &str,
        shape: &Shape,
        object: &'v Map<String, Value>,
        known: &mut Vec<String>,
    ) {
        for field in &shape.fields {
            assert!(!known.contains(&field.name), "{name}: two are called {}", field.name);
            known.push(field.name.clone());
            self.field(&format!("{name}.{}", field.name), field, object.get(&field.name));
        }
        for part in &shape.parts {
            self.fields(document, part, object, known);
        }
    }

    fn field(&mut self, key: &str, field: &Field, value: Option<&'v Value>) {
        match value {
            None if field.is_optional => {}
            None => self.wrong.push(format!("{key}: is not there")),
            Some(Value::Null) if field.may_be_null => {}
            Some(value) => {
                let empty = value.as_array().is_some_and(Vec::is_empty);
                self.keys.extend((!empty).then(|| key.to_owned()));
                self.value(key, &field.kind, &field.values, value);
            }
        }
    }

    fn value(&mut self, key: &str, kind: &Type, values: &[String], value: &'v Value) {
        let is_so = match (kind, value) {
            (Type::String, Value::String(text)) => {
                self.keys.extend((!values.is_empty()).then(|| format!("{key}={text}")));
                values.is_empty() || values.contains(text)
            }
            // Of up to 64 bits, and whole.
            (Type::Number, value) => value.is_u64() || value.is_i64(),
            (Type::Bool, value) => value.is_boolean(),
            (Type::Array(of), Value::Array(elements)) => {
                elements.iter().for_each(|element| self.value(key, of, values, element));
                true
            }
            (Type::Object(shape), value) => {
                self.objects.push((shape.clone(), value));
                true
            }
            _ => false,
        };
        if !is_so {
            self.wrong.push(format!("{key}: is {value}, and not as it is written down"));
        }
    }
}
