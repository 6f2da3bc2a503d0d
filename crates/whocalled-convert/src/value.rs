//! Values of columns, before they are appended.

use crate::definition::Kind;
use crate::time::{micros_from_text, micros_from_ticks};

/// The value of a column. `T` is a text, or where to find it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Value<T> {
    #[default]
    Null,
    Text(T),
    /// Integers, microseconds of instants, and days.
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

impl<T> Value<T> {
    /// The same value with its text, or where that is, replaced.
    pub(crate) fn map_text<U>(self, to: impl FnOnce(T) -> U) -> Value<U> {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(to(text)),
            Self::Integer(value) => Value::Integer(value),
            Self::Float(value) => Value::Float(value),
            Self::Boolean(value) => Value::Boolean(value),
        }
    }

    pub(crate) fn text(self) -> Option<T> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn integer(self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(value) } else { None }
    }

    /// An integer that is known to fit 32 bits: days, and what [`Kind::SmallInteger`] let through.
    pub(crate) fn small_integer(self) -> Option<i32> {
        self.integer().and_then(|it| i32::try_from(it).ok())
    }

    pub(crate) fn float(self) -> Option<f64> {
        if let Self::Float(value) = self { Some(value) } else { None }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        if let Self::Boolean(value) = self { Some(value) } else { None }
    }

    /// An integer as a value of that kind. `None` where it does not fit, and for kinds that hold no integers.
    pub(crate) fn of_integer(kind: Kind, number: i64) -> Option<Self> {
        match kind {
            Kind::Integer => Some(Self::Integer(number)),
            Kind::SmallInteger => i32::try_from(number).is_ok().then_some(Self::Integer(number)),
            Kind::Ticks => micros_from_ticks(number).map(Self::Integer),
            _ => None,
        }
    }

    /// What a string or the literal of a number says as a value of that kind. `None` where it does not fit, and for
    /// kinds whose values are texts.
    pub(crate) fn parse(kind: Kind, text: &str) -> Option<Self> {
        match kind {
            Kind::Integer | Kind::SmallInteger => Self::of_integer(kind, integer(text)?),
            Kind::Float => text.parse().ok().filter(|it: &f64| it.is_finite()).map(Self::Float),
            Kind::Boolean => streaming(text).map(Self::Boolean),
            Kind::Time => micros_from_text(text).map(Self::Integer),
            Kind::Ticks => {
                let ticks = text.parse().ok().and_then(micros_from_ticks);
                ticks.or_else(|| micros_from_text(text)).map(Self::Integer)
            }
            Kind::Text
            | Kind::Label
            | Kind::LowerLabel
            | Kind::Guid
            | Kind::GuidLabel
            | Kind::Json
            | Kind::Binary
            | Kind::Date => None,
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        // `1021.0` is an integer too; beyond 2^53 a double no longer says which.
        let value: f64 = text.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "the value is integral and within 2^53")]
        (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
    })
}

fn streaming(text: &str) -> Option<bool> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    match () {
        () if is("streaming") || is("true") => Some(true),
        () if is("non-streaming") || is("false") => Some(false),
        () => None,
    }
}
