//! JSON text of whatever is being decoded, written as it is read, without a tree in between.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON document as text.
#[derive(Clone, Debug)]
pub struct Text(Box<str>);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::new();
        Pen(&mut text).deserialize(deserializer)?;
        Ok(Self(text.into()))
    }
}

/// Writes one value.
struct Pen<'a>(&'a mut String);

impl Pen<'_> {
    fn quoted(self, text: &str) {
        // A text is always writable as JSON.
        let quoted = serde_json::to_string(text).unwrap_or_default();
        self.0.push_str(&quoted);
    }
}

impl<'de> DeserializeSeed<'de> for Pen<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pen<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push_str("null");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.push_str(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.push_str(&value.to_string());
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.0.push_str(&serde_json::to_string(&value).map_err(E::custom)?);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.quoted(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut mark = '[';
        loop {
            // Taken back if there is no other item.
            let before = self.0.len();
            self.0.push(mark);
            if items.next_element_seed(Pen(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
            mark = ',';
        }
        self.0.push_str(if mark == '[' { "[]" } else { "]" });
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut mark = '{';
        while let Some(key) = members.next_key::<String>()? {
            self.0.push(mark);
            Pen(self.0).quoted(&key);
            self.0.push(':');
            members.next_value_seed(Pen(self.0))?;
            mark = ',';
        }
        self.0.push_str(if mark == '{' { "{}" } else { "}" });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_is_that_of_the_tree() {
        let values = [
            json!(null),
            json!([]),
            json!({}),
            json!([
                [],
                {},
                [1, -2, 0.5, 18_446_744_073_709_551_615_u64],
                true,
                "a \"quoted\"\n\u{1}line"
            ]),
            json!({"b": {"a": [null, false]}, "a/b~c": "", "é": 1e300}),
        ];
        for value in values {
            let text: Text = serde_json::from_str(&value.to_string()).expect("it must be readable");
            assert_eq!(text.as_str(), value.to_string());
        }
    }

    #[test]
    fn an_object_in_an_envelope_that_is_read_in_any_order_is_the_same() {
        #[derive(serde::Deserialize)]
        #[serde(tag = "type", content = "object")]
        enum Envelope {
            Added(Text),
        }
        for text in [
            r#"{"type":"Added","object":{"a":[1]}}"#,
            r#"{"object":{"a":[1]},"type":"Added"}"#,
        ] {
            let Envelope::Added(object) = serde_json::from_str(text).expect("it must be readable");
            assert_eq!(object.as_str(), r#"{"a":[1]}"#);
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        assert!(serde_json::from_str::<Text>(r#"{"a":1"#).is_err());
        assert!(serde_json::from_str::<Text>("1e999").is_err());
    }
}
