//! How numbers are written, so that a browser reads the same: from 2^53 on as strings.
//!
//! Owns that form for everything that is a number inside. Must not know what it counts.

use almadia::{LogId, LogIndex, NodeId, Term};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// The largest number that a browser does not round.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// What is written as a number.
pub(super) trait Numeric: Copy {
    fn number(self) -> u64;
    fn of_number(number: u64) -> Option<Self>;
}

impl Numeric for u64 {
    fn number(self) -> u64 {
        self
    }

    fn of_number(number: u64) -> Option<Self> {
        Some(number)
    }
}

impl Numeric for NodeId {
    fn number(self) -> u64 {
        self.get()
    }

    fn of_number(number: u64) -> Option<Self> {
        Self::new(number)
    }
}

impl Numeric for Term {
    fn number(self) -> u64 {
        self.0
    }

    fn of_number(number: u64) -> Option<Self> {
        Some(Self(number))
    }
}

impl Numeric for LogIndex {
    fn number(self) -> u64 {
        self.0
    }

    fn of_number(number: u64) -> Option<Self> {
        Some(Self(number))
    }
}

/// Both forms that a number can have in a file.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Form {
    Exact(u64),
    Long(String),
}

impl Form {
    fn of(value: impl Numeric) -> Self {
        let number = value.number();
        if number > MAX_EXACT {
            Self::Long(number.to_string())
        } else {
            Self::Exact(number)
        }
    }

    fn into_value<T: Numeric, E: Error>(self) -> Result<T, E> {
        let number = match self {
            Self::Exact(number) => number,
            Self::Long(text) => text.parse().map_err(E::custom)?,
        };
        T::of_number(number).ok_or_else(|| E::custom("a node's id is never 0"))
    }
}

pub(super) fn serialize<T: Numeric, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    Form::of(*value).serialize(to)
}

pub(super) fn deserialize<'de, T: Numeric, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Form::deserialize(from)?.into_value()
}

/// A number that may be missing.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, Form, Numeric, Serialize, Serializer};

    pub(in super::super) fn serialize<T: Numeric, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Form::of).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, T: Numeric, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let form = Option::<Form>::deserialize(from)?;
        form.map(Form::into_value).transpose()
    }
}

/// A list of numbers.
pub(super) mod list {
    use super::{Deserialize, Deserializer, Form, Numeric, Serializer};

    pub(in super::super) fn serialize<T: Numeric, S: Serializer>(
        values: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| Form::of(*value)))
    }

    pub(in super::super) fn deserialize<'de, T: Numeric, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let forms = Vec::<Form>::deserialize(from)?;
        forms.into_iter().map(Form::into_value).collect()
    }
}

/// A log position, as `[term, index]`.
pub(super) mod log_id {
    use super::{Deserialize, Deserializer, Form, LogId, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(id: &LogId, to: S) -> Result<S::Ok, S::Error> {
        [Form::of(id.term), Form::of(id.index)].serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<LogId, D::Error> {
        let [term, index] = <[Form; 2]>::deserialize(from)?;
        Ok(LogId {
            term: term.into_value()?,
            index: index.into_value()?,
        })
    }
}

/// A log position that may be missing.
pub(super) mod optional_log_id {
    use super::{Deserialize, Deserializer, Form, LogId, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        id: &Option<LogId>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let forms = id.map(|id| [Form::of(id.term), Form::of(id.index)]);
        forms.serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<LogId>, D::Error> {
        let Some([term, index]) = Option::<[Form; 2]>::deserialize(from)? else {
            return Ok(None);
        };
        Ok(Some(LogId {
            term: term.into_value()?,
            index: index.into_value()?,
        }))
    }
}
