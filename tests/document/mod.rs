//! `share/json.md`, read: what objects are made of, by their names.

pub mod closed;
pub mod seen;

use std::collections::{BTreeMap, BTreeSet};

const TEXT: &str = include_str!("../../share/json.md");

/// All that is written there.
pub struct Document(BTreeMap<String, Shape>);

/// What an object is made of.
#[derive(Default)]
pub struct Shape {
    /// Its own fields.
    pub fields: Vec<Field>,
    /// Names of shapes whose fields it has too.
    pub parts: Vec<String>,
    /// The field that tells which others there are.
    pub tag: String,
    /// Those, by its value.
    pub variants: BTreeMap<String, Shape>,
}

/// A field.
pub struct Field {
    pub name: String,
    pub kind: Type,
    pub may_be_null: bool,
    pub is_optional: bool,
    /// All that it may be, if that is written down.
    pub values: Vec<String>,
}

/// What is there if it is not `null`.
#[derive(PartialEq, Eq)]
pub enum Type {
    String,
    Number,
    Bool,
    Array(Box<Type>),
    /// An object of this shape.
    Object(String),
}

impl Document {
    /// Reads it; panics at what is not well-formed.
    pub fn read() -> Self {
        let mut shapes = BTreeMap::<String, Shape>::new();
        let (mut name, mut variant) = (String::new(), String::new());
        for line in TEXT.lines() {
            if let Some(heading) = line.strip_prefix("### ") {
                name = heading.replace('`', "");
                assert!(shapes.insert(name.clone(), Shape::default()).is_none(), "twice: {name}");
            }
            let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix('|'))
            else {
                continue;
            };
            let shape = shapes.get_mut(&name).unwrap_or_else(|| panic!("of nothing: {line}"));
            match cells.split('|').map(str::trim).collect::<Vec<_>>()[..] {
                ["field", "type", "what"] => {}
                [tag, "field", "type", "what"] => shape.tag = tag.to_owned(),
                [field, kind, what] => shape.add(field, kind, what),
                [of, field, kind, what] => {
                    if !of.is_empty() {
                        variant = of.replace('`', "");
                    }
                    let variant = shape.variants.entry(variant.clone()).or_default();
                    if !field.is_empty() {
                        variant.add(field, kind, what);
                    }
                }
                _ => panic!("not a row of three or four: {line}"),
            }
        }
        let document = Self(shapes);
        document.is_whole();
        document
    }

    /// A shape that must be there.
    pub fn shape(&self, name: &str) -> &Shape {
        self.0.get(name).unwrap_or_else(|| panic!("`{name}` is not in share/json.md"))
    }

    /// The names of all shapes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All fields by their keys, `joined.why` or `action/guard.mtu`.
    pub fn fields(&self) -> impl Iterator<Item = (String, &Field)> {
        self.0.iter().flat_map(move |(name, shape)| {
            let variants = shape.variants.iter();
            let variants = variants.flat_map(move |(tag, of)| of.keys(format!("{name}/{tag}")));
            shape.keys(name.clone()).chain(variants)
        })
    }

    /// What a field may be; of a shape, all that its tag may be.
    pub fn values(&self, key: &str) -> BTreeSet<String> {
        match self.fields().find(|(field, _)| field == key) {
            Some((_, field)) => field.values.iter().cloned().collect(),
            None => self.shape(key).variants.keys().cloned().collect(),
        }
    }

    /// All that is to be seen: fields, variants as `action/guard`, values as `joined.state=up`.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for (key, field) in self.fields() {
            let values = field.values.iter().filter(|_| !closed::is_closed(&key));
            keys.extend(values.map(|value| format!("{key}={value}")));
            keys.push(key);
        }
        for (name, shape) in &self.0 {
            keys.extend(shape.variants.keys().map(|tag| format!("{name}/{tag}")));
        }
        keys
    }

    /// What is named is there, and what is there is named.
    fn is_whole(&self) {
        let all = self.0.values().flat_map(|shape| shape.variants.values().chain([shape]));
        let mut named: Vec<&str> = Vec::new();
        for shape in all {
            named.extend(shape.parts.iter().map(String::as_str));
            named.extend(shape.fields.iter().filter_map(|field| field.kind.object()));
        }
        for name in &named {
            self.shape(name);
        }
        let idle = self.names().find(|name| !name.starts_with("xhop ") && !named.contains(name));
        assert_eq!(idle, None, "nothing is made of it");
    }
}

impl Shape {
    fn keys(&self, name: String) -> impl Iterator<Item = (String, &Field)> {
        self.fields.iter().map(move |field| (format!("{name}.{}", field.name), field))
    }

    fn add(&mut self, field: &str, kind: &str, what: &str) {
        if field == "all of" {
            return self.parts.push(link(kind).expect("a shape").to_owned());
        }
        let name = field.strip_prefix('`').and_then(|field| field.strip_suffix('`'));
        let name = name.unwrap_or_else(|| panic!("not a field: {field}")).to_owned();
        let (kind, is_optional) = without(kind, ", optional");
        let (kind, may_be_null) = without(kind, " or null");
        let (kind, values) = (Type::read(kind), values(what));
        self.fields.push(Field { name, kind, may_be_null, is_optional, values });
    }
}

impl Type {
    fn read(text: &str) -> Self {
        match text.strip_prefix("array of ") {
            Some(of) => Self::Array(Box::new(Self::read(of))),
            None => match (text, link(text)) {
                ("string", _) => Self::String,
                ("number", _) => Self::Number,
                ("bool", _) => Self::Bool,
                (_, Some(name)) => Self::Object(name.to_owned()),
                _ => panic!("not a type: {text}"),
            },
        }
    }

    fn object(&self) -> Option<&str> {
        match self {
            Self::Array(of) => of.object(),
            Self::Object(name) => Some(name),
            _ => None,
        }
    }
}

fn without<'a>(text: &'a str, end: &str) -> (&'a str, bool) {
    text.strip_suffix(end).map_or((text, false), |text| (text, true))
}

/// The name in `[running chain](#running-chain)`, which must lead to its heading.
fn link(text: &str) -> Option<&str> {
    let (name, anchor) = text.strip_prefix('[')?.strip_suffix(')')?.split_once("](#")?;
    assert_eq!(anchor, name.replace(' ', "-"), "a link that leads elsewhere");
    Some(name)
}

/// What is in backquotes after "one of", to the end of the clause.
fn values(what: &str) -> Vec<String> {
    let Some((_, list)) = what.split_once("one of `") else { return Vec::new() };
    let mut values = Vec::new();
    for (number, part) in list.split('`').enumerate() {
        match number % 2 {
            0 => values.push(part.to_owned()),
            _ if part.contains(';') => break,
            _ => {}
        }
    }
    values
}
