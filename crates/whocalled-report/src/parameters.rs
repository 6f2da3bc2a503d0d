//! The values of a statement's `$name` placeholders.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;

/// The value of one placeholder.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A real number.
    Float(f64),
    /// An instant.
    Time(DateTime<Utc>),
}

impl Value {
    fn scalar(&self) -> ScalarValue {
        match self {
            Self::Text(text) => ScalarValue::Utf8(Some(text.clone())),
            Self::Integer(number) => ScalarValue::Int64(Some(*number)),
            Self::Float(number) => ScalarValue::Float64(Some(*number)),
            Self::Time(at) => ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into())),
        }
    }
}

/// Values by placeholder, without the `$`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    values: BTreeMap<String, Value>,
}

impl Parameters {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// The half-open range `[from, to)` as `$from` and `$to`, which every report takes.
    pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        Self::new().with("from", Value::Time(from)).with("to", Value::Time(to))
    }

    /// These values and one more, which replaces an earlier one of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }

    /// The value of a placeholder, if it has one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The names that have a value, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(crate) fn to_datafusion(&self) -> ParamValues {
        ParamValues::from(
            self.values
                .iter()
                .map(|(name, value)| (name.as_str(), value.scalar()))
                .collect::<Vec<(&str, ScalarValue)>>(),
        )
    }
}
