//! JSON and TOML in which an object is an object. What serde derives for a struct reads an array as well, its elements in the
//! order of the fields: `[]` would be a renewal by default, and no document of ours says so. Here such an array is refused, at
//! any depth.
//!
//! ```text
//!   T::deserialize ─► Strict ─► the format: each visitor, seed and access on the way is wrapped, so that all below is Strict
//! ```

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use std::fmt;

/// Reads all of `bytes`, JSON, as one value.
///
/// # Errors
/// serde_json's, with line and column.
pub(crate) fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Strict(&mut json))?;
    json.end()?;
    Ok(value)
}

/// Reads a TOML document.
///
/// # Errors
/// toml's, with the place.
pub(crate) fn from_toml<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, toml::de::Error> {
    T::deserialize(Strict(toml::Deserializer::parse(text)?))
}

/// Anything of serde's, handing on what is [`Strict`].
struct Strict<T>(T);

/// A visitor; that of an object takes no array.
struct Within<V> {
    visitor: V,
    is_object: bool,
}

const fn value<V>(visitor: V) -> Within<V> {
    Within {
        visitor,
        is_object: false,
    }
}

const fn object<V>(visitor: V) -> Within<V> {
    Within {
        visitor,
        is_object: true,
    }
}

/// Methods that take a visitor and hand it on.
macro_rules! hand_on {
    ($($method:ident($($name:ident: $type:ty),*) with $within:ident;)+) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* $within(visitor))
        })+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    hand_on! {
        deserialize_any() with value;
        deserialize_bool() with value;
        deserialize_i8() with value;
        deserialize_i16() with value;
        deserialize_i32() with value;
        deserialize_i64() with value;
        deserialize_i128() with value;
        deserialize_u8() with value;
        deserialize_u16() with value;
        deserialize_u32() with value;
        deserialize_u64() with value;
        deserialize_u128() with value;
        deserialize_f32() with value;
        deserialize_f64() with value;
        deserialize_char() with value;
        deserialize_str() with value;
        deserialize_string() with value;
        deserialize_bytes() with value;
        deserialize_byte_buf() with value;
        deserialize_option() with value;
        deserialize_unit() with value;
        deserialize_unit_struct(name: &'static str) with value;
        deserialize_newtype_struct(name: &'static str) with value;
        deserialize_seq() with value;
        deserialize_tuple(len: usize) with value;
        deserialize_tuple_struct(name: &'static str, len: usize) with value;
        deserialize_map() with value;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) with object;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) with value;
        deserialize_identifier() with value;
        deserialize_ignored_any() with value;
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Plain values, handed on as they are.
macro_rules! plain {
    ($($method:ident: $type:ty,)+) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    plain! {
        visit_bool: bool,
        visit_i64: i64,
        visit_i128: i128,
        visit_u64: u64,
        visit_u128: u128,
        visit_f64: f64,
        visit_char: char,
        visit_str: &str,
        visit_borrowed_str: &'de str,
        visit_string: String,
        visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8],
        visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Strict(some))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Strict(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        if self.is_object {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        self.visitor.visit_seq(Strict(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Strict(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Strict(variant))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(value))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Strict(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Strict<A> {
    type Error = A::Error;
    type Variant = Strict<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(Strict(seed))?;
        Ok((value, Strict(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Strict(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, value(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, object(visitor))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Deserialize, fmt, from_slice};
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
    use sectag_proto::rules::{Renewal, RuleCommand};
    use sectag_proto::{CommandRequest, SecTag};
    use serde_json::{Value, json};

    fn refusal<'de, T: Deserialize<'de> + fmt::Debug>(json: &'de str) -> String {
        from_slice::<T>(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        for json in ["[]", "[67]", r#"[67, "inPlace"]"#] {
            serde_json::from_str::<Renewal>(json).unwrap();
            let reason = refusal::<Renewal>(json);
            assert!(
                reason.starts_with("invalid type: sequence, expected struct Renewal at line 1"),
                "{reason}"
            );
        }
        for json in [
            r#"{"into":{"alternate":[7]}}"#,
            r#"{"at_percent":67,"into":{"alternate":[7]}}"#,
        ] {
            refusal::<Renewal>(json);
        }
        for json in [
            r#"{"clientPrivateKeyGeneration":[7]}"#,
            r#"{"clientCertificate":[7,"text"]}"#,
            r#"{"clientCertificate":{"secTag":7,"content":["00"]}}"#,
            r#"{"finished":[]}"#,
        ] {
            refusal::<CommandRequest>(json);
            refusal::<RuleCommand>(&format!(r#"{{"request":{json}}}"#));
            refusal::<Vec<Option<CommandRequest>>>(&format!("[null,{json}]"));
        }
    }

    #[test]
    fn what_is_an_object_reads_as_ever() {
        let renewal: Renewal = from_slice(br#" {"into":{"alternate":{"secTag":7}}} "#).unwrap();
        let again = json!(renewal);
        assert_eq!(again["into"], json!({"alternate":{"secTag":7}}));
        assert_eq!(from_slice::<SecTag>(b"7").unwrap(), SecTag::new(7).unwrap());
        let list: Vec<Option<u8>> = from_slice(b"[1,null,3]").unwrap();
        assert_eq!(list, [Some(1), None, Some(3)]);
        // Behind a value there is nothing.
        assert!(from_slice::<u8>(b"1 2").unwrap_err().is_syntax());
    }

    fn anything() -> impl Strategy<Value = Value> {
        let plain = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        plain.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_without_structs_is_what_serde_json_reads(value in anything()) {
            let text = value.to_string();
            prop_assert_eq!(from_slice::<Value>(text.as_bytes()).unwrap(), value);
        }

        #[test]
        fn bytes_are_refused_where_serde_json_refuses_them(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let ours = from_slice::<Value>(&bytes).map_err(|e| e.to_string());
            prop_assert_eq!(ours, serde_json::from_slice(&bytes).map_err(|e| e.to_string()));
        }
    }
}
