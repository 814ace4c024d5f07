use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::{error::CliError, text::sanitised_json};

/// A result as JSON has it, with its fields in the order in which they are declared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// Null, a truth value, a number or a text.
    Scalar(Value),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Tree {
    pub(super) fn of(value: &impl Serialize) -> Result<Self, CliError> {
        let failed = |error: serde_json::Error| CliError::failure("OUTPUT", format!("JSON: {error}"));
        let text = serde_json::to_string(value).map_err(failed)?;
        serde_json::from_str(&text).map_err(failed)
    }

    /// The value at a path as `prediction.decision` or `candidates.0`. `None`: there is no such field. Under what is
    /// null, and behind the end of a list, everything is null.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        const NULL: &Tree = &Tree::Scalar(Value::Null);
        let mut place = self;
        for step in path.split('.') {
            place = match place {
                Self::Map(fields) => &fields.iter().find(|(name, _)| name == step)?.1,
                Self::List(entries) => entries.get(step.parse::<usize>().ok()?).unwrap_or(NULL),
                Self::Scalar(Value::Null) => NULL,
                Self::Scalar(_) => return None,
            };
        }
        Some(place)
    }

    /// Takes a field out of a map.
    pub(super) fn take(&mut self, field: &str) -> Option<Self> {
        let Self::Map(fields) = self else { return None };
        let index = fields.iter().position(|(name, _)| name == field)?;
        Some(fields.remove(index).1)
    }

    /// The paths of all that is no map, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths(&mut String::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &mut String, paths: &mut Vec<String>) {
        let Self::Map(fields) = self else {
            return paths.push(prefix.clone());
        };
        for (name, value) in fields {
            let length = prefix.len();
            if length > 0 {
                prefix.push('.');
            }
            prefix.push_str(name);
            value.collect_paths(prefix, paths);
            prefix.truncate(length);
        }
    }

    /// The value as a cell has it: nothing for null, and JSON for lists.
    pub(super) fn cell(&self) -> String {
        match self {
            Self::Scalar(Value::Null) => String::new(),
            Self::Scalar(Value::String(text)) => text.clone(),
            Self::Scalar(scalar) => scalar.to_string(),
            Self::List(_) | Self::Map(_) => self.line(),
        }
    }

    /// The value as one line of JSON.
    pub(super) fn line(&self) -> String {
        // Keys are texts, so that nothing can fail.
        let document = serde_json::to_string(self).unwrap_or_default();
        sanitised_json(&document).into_owned()
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scalar(scalar) => scalar.serialize(serializer),
            Self::List(entries) => serializer.collect_seq(entries),
            Self::Map(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, value))),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(Tree::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(json: &str) -> Tree {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn fields_keep_their_order_and_have_paths() {
        let tree = tree(r#"{"z": 1, "a": {"y": null, "b": [{"c": 0.51234}]}, "t": "x"}"#);
        assert_eq!(tree.paths(), ["z", "a.y", "a.b", "t"]);
        assert_eq!(tree.line(), r#"{"z":1,"a":{"y":null,"b":[{"c":0.51234}]},"t":"x"}"#);
        let cell = |path| tree.at(path).map(Tree::cell);
        assert_eq!(cell("a.b.0.c").unwrap(), "0.51234");
        assert_eq!(cell("a.b").unwrap(), r#"[{"c":0.51234}]"#);
        assert_eq!(cell("a.y.anything").unwrap(), "");
        assert_eq!(cell("a.b.7").unwrap(), "");
        assert_eq!((cell("none"), cell("t.x"), cell("a.b.x")), (None, None, None));
    }
}
