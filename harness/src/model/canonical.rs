//! When two machines are the same: the names of things that make no difference are left out.
//!
//! Owns the key by which machines are told apart. Must not know what machines do.
//!
//! A node counts its `Ready`s, and two nodes that differ in this count alone do the same for ever.
//! The derived `Hash` of a node cannot leave it out from outside, but its `Debug` form names every
//! field. So the key is a hash over that form, in which the numbers of `Ready`s are blank. They stand
//! in ascending order in the queue of writes, so no order is lost with them.

use std::fmt::{self, Debug, Write};

use crate::digest::Digest;

/// Two hashes over one text. With a million machines two of them have the same key with a
/// probability below 10⁻²⁶.
pub(super) type Key = (u64, u64);

/// The key of what this prints in its `Debug` form.
pub(super) fn key(value: &impl Debug) -> Key {
    let mut text = Text::default();
    // A `Text` takes everything, and derived forms do not fail.
    let written = write!(text, "{value:?}");
    debug_assert!(written.is_ok(), "a derived Debug form does not fail");
    text.key()
}

/// A text in which the numbers of `Ready`s are blank.
#[derive(Debug, Default)]
struct Text {
    text: String,
    place: Place,
}

/// Where in the text the next piece will stand. Derived forms write a name, `{`, a field's name, `:`
/// and a value as pieces of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    /// Behind the name of a struct whose `number` is that of a `Ready`.
    InWrite,
    /// Before the number of a `Ready`.
    BeforeNumber,
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.place = match (self.place, piece) {
            (_, "Write") => Place::InWrite,
            (_, "last_number") | (Place::InWrite, "number") => Place::BeforeNumber,
            (Place::BeforeNumber, piece) if piece.starts_with(|it: char| it.is_ascii_digit()) => {
                self.place = Place::Elsewhere;
                return Ok(());
            }
            (Place::InWrite, piece) if piece != " { " => Place::Elsewhere,
            (place, _) => place,
        };
        self.text.push_str(piece);
        Ok(())
    }
}

impl Text {
    fn key(&self) -> Key {
        let hash = |seed| Digest::fold(seed, &self.text);
        (hash(Digest::EMPTY), hash(!Digest::EMPTY))
    }
}
