//! The columns of a row type, as serde derived them: the fields' names in order, which is how a csv file is headed.

use std::any::type_name;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

/// The columns that rows `R` are written with.
///
/// # Panics
/// When `R` is no struct with named fields: a table has no other rows.
pub(crate) fn columns<R: DeserializeOwned>() -> &'static [&'static str] {
    match R::deserialize(Fields) {
        Err(Answer(Some(fields))) => fields,
        _ => panic!("{} must be a struct with named fields, because its table is headed by them", type_name::<R>()),
    }
}

/// A deserializer that reads nothing: asked for a struct it answers with the names of the struct's fields.
struct Fields;

/// The answer, on the only way out that there is without a value.
#[derive(Debug)]
struct Answer(Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Fields {
    type Error = Answer;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Answer> {
        Err(Answer(Some(fields)))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Answer> {
        Err(Answer(None))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl Error for Answer {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self(None)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Answer {}
