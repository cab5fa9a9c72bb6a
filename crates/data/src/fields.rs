//! From a table to a type. What is wrong with a field is said with its whole path.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

/// Reads a table as a type whose fields it must have. `root` is its own path.
///
/// # Errors
/// When a field is missing, unknown or of another type: one line that begins with the path, if there is any.
pub fn read_table<T: DeserializeOwned>(table: Table, root: &str) -> Result<T, String> {
    let whole = Field { path: root.to_owned(), value: table.into() };
    whole.read(PhantomData).map_err(|refusal| refusal.to_string())
}

/// A value on its way to a type. `toml`'s own way loses the path at an enum, and takes a list for the fields of a struct.
struct Field {
    path: String,
    value: Value,
}

/// Why a field was refused.
#[derive(Debug)]
enum Refusal {
    /// What was `found` in it is not what is `expected`.
    Type { found: String, expected: String },
    /// Anything else.
    Reason(String),
    /// Either of them, with the path.
    At(String),
}

impl Refusal {
    /// The field at `path` is not what it must be.
    fn must_be(expected: &str, path: &str, value: &Value) -> Self {
        Self::At(format!("{path} must be {expected}, but is {value}"))
    }

    /// Adds the path, unless a field inside it is to blame.
    fn at(self, path: &str, value: &Value) -> Self {
        match self {
            Self::At(_) => self,
            // What is found in a table is one of its fields, of which serde keeps no path where a field names the variant.
            Self::Type { expected, .. } if !value.is_table() => Self::must_be(&expected, path, value),
            _ if path.is_empty() => Self::At(self.to_string()),
            _ => Self::At(format!("{path}: {self}")),
        }
    }
}

impl Error for Refusal {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Reason(reason.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = match expected.to_string().as_str() {
            "u64" | "u32" | "usize" => "a whole number of at least 0".to_owned(),
            "f64" => "a number".to_owned(),
            "a sequence" => "a list".to_owned(),
            "a map" | "newtype variant" => "a table of fields".to_owned(),
            other => other.to_owned(),
        };
        Self::Type { found: found.to_string(), expected }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { found, expected } => write!(f, "{found} must be {expected}"),
            Self::Reason(reason) | Self::At(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Refusal {}

impl Field {
    fn read<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        let (path, value) = (self.path.clone(), self.value.clone());
        seed.deserialize(self).map_err(|refusal| refusal.at(&path, &value))
    }
}

impl<'de> Deserializer<'de> for Field {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.value {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(truth) => visitor.visit_bool(truth),
            Value::Datetime(date) => visitor.visit_string(date.to_string()),
            Value::Array(values) => {
                let item = |(i, value)| Self { path: format!("{}[{i}]", self.path), value };
                visitor.visit_seq(Items(values.into_iter().enumerate().map(item)))
            }
            Value::Table(table) => visitor.visit_map(Fields::new(self.path, table)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.value {
            Value::Table(_) => self.deserialize_any(visitor),
            _ => Err(Refusal::must_be("a table of fields", &self.path, &self.value)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.value {
            Value::String(variant) => visitor.visit_enum(variant.into_deserializer()),
            Value::Table(table) if table.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Fields::new(self.path, table)))
            }
            _ => Err(Refusal::must_be(&format!("one of {}", variants.join(", ")), &self.path, &self.value)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// The values of a list.
struct Items<I>(I);

impl<'de, I: Iterator<Item = Field>> SeqAccess<'de> for Items<I> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        self.0.next().map(|field| field.read(seed)).transpose()
    }
}

/// The fields of a table.
struct Fields {
    section: String,
    rest: toml::map::IntoIter<String, Value>,
    next: Option<Field>,
}

impl Fields {
    fn new(section: String, table: Table) -> Self {
        Self { section, rest: table.into_iter(), next: None }
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        let path = if self.section.is_empty() { name.clone() } else { format!("{}.{name}", self.section) };
        self.next = Some(Field { path, value });
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        self.next.take().expect("a value is asked for behind its key").read(seed)
    }
}

#[cfg(test)]
mod tests {
    use crate::{FunctionFamiliesConfig, SparseRegressionConfig};

    use super::*;

    const SPARSE: &str = "d_x = 4\nn_points = 6\nnoise_variance = 0\nw_std = 1\n";

    /// Why `SPARSE` with one more line is refused.
    fn refused(line: &str) -> String {
        read_table::<SparseRegressionConfig>(format!("{SPARSE}{line}").parse().unwrap(), "task").unwrap_err()
    }

    #[test]
    fn every_field_is_read() {
        let bases = "bases = { blocks = { count = 2, rank = 2, shared = 1 } }";
        let table: Table = format!("{SPARSE}{bases}").parse().unwrap();
        let read: SparseRegressionConfig = read_table(table.clone(), "task").unwrap();
        assert_eq!(read, table.try_into().unwrap());
        let text = "d_x = 4\nn_points = 6\nnoise_variance = 0.5\nsignal_std = 1\n\
            families = [\"linear\", { sparse_linear = { rank = 2 } }, { leaky_relu = { width = 4, slope = 0.5 } }]";
        let table: Table = text.parse().unwrap();
        let read: FunctionFamiliesConfig = read_table(table.clone(), "task").unwrap();
        assert_eq!(read, table.try_into().unwrap());
        let any: Table = "how = [true, 1.5, \"x\", { y = [] }]".parse().unwrap();
        assert_eq!(read_table::<Table>(any.clone(), "").unwrap(), any);
    }

    #[test]
    fn what_is_wrong_has_its_path() {
        let cases = [
            ("", "task: missing field `bases`"),
            ("colour = 1", "task: unknown field `colour`, expected one of"),
            ("bases = []", "task.bases must be one of blocks, coordinates, but is []"),
            ("bases = \"blocks\"", "task.bases must be a table of fields, but is \"blocks\""),
            ("bases = { blocks = [2, 2] }", "task.bases.blocks must be a table of fields, but is [2, 2]"),
            (
                "bases = { blocks = { rank = -1 } }",
                "task.bases.blocks.rank must be a whole number of at least 0, but is -1",
            ),
            ("bases = { coordinates = [[0], [0, 0.5]] }", "task.bases.coordinates[1][1] must be a whole number"),
            ("weights = [1, \"x\"]", "task.weights[1] must be a number, but is \"x\""),
            ("weights = 3", "task.weights must be a list, but is 3"),
        ];
        for (line, message) in cases {
            assert!(refused(line).starts_with(message), "{line}: {}", refused(line));
        }
    }
}
