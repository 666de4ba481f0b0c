//! The bytes of a recorded value: how values are put into them, and taken out again.
//!
//! Owns the building stones: numbers, byte strings, lists, options. What the core's own types are
//! made of stands in `coding/core.rs`. Must not know what is recorded when.
//!
//! Bytes that make no sense are an error, whatever they are; nothing is allocated on their word.

mod core;

use std::num::NonZeroU64;
use std::sync::Arc;

use almadia::Bytes;
use integer_encoding::VarInt;
use thiserror::Error;

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Malformed(pub(crate) &'static str);

/// Collects the bytes of values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn var_int(&mut self, value: impl VarInt) {
        let mut bytes = [0; 10];
        let length = value.encode_var(&mut bytes);
        self.0.extend_from_slice(&bytes[..length]);
    }

    fn run(&mut self, bytes: &[u8]) {
        self.var_int(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// The rest of some bytes, from which values are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self
            .0
            .split_first()
            .ok_or(Malformed("a value is cut off"))?;
        self.0 = rest;
        Ok(*byte)
    }

    fn var_int<T: VarInt>(&mut self) -> Result<T, Malformed> {
        let (value, length) = T::decode_var(self.0).ok_or(Malformed("a number makes no sense"))?;
        self.0 = &self.0[length..];
        Ok(value)
    }

    fn run(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::decode(self)?;
        let (run, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed("a value is cut off"))?;
        self.0 = rest;
        Ok(run)
    }
}

/// A value that can be recorded.
pub(crate) trait Coded: Sized {
    fn encode(&self, out: &mut Writer);

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed>;
}

/// A struct all of whose fields are coded, in this order.
macro_rules! coded_struct {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::recorder::coding::Coded for $type {
            fn encode(&self, out: &mut $crate::recorder::coding::Writer) {
                let Self { $($field),* } = self;
                $($crate::recorder::coding::Coded::encode($field, out);)*
            }

            fn decode(
                from: &mut $crate::recorder::coding::Reader<'_>,
            ) -> Result<Self, $crate::recorder::coding::Malformed> {
                $(let $field = $crate::recorder::coding::Coded::decode(from)?;)*
                Ok(Self { $($field),* })
            }
        }
    };
}

/// An enum, each variant under a number of its own, which must stay what it is.
macro_rules! coded_enum {
    ($type:ident {
        $($tag:literal $variant:ident $(($($part:ident),*))? $({ $($field:ident),* })?),* $(,)?
    }) => {
        impl $crate::recorder::coding::Coded for $type {
            fn encode(&self, out: &mut $crate::recorder::coding::Writer) {
                match self {
                    $(Self::$variant $(($($part),*))? $({ $($field),* })? => {
                        out.byte($tag);
                        $($($crate::recorder::coding::Coded::encode($part, out);)*)?
                        $($($crate::recorder::coding::Coded::encode($field, out);)*)?
                    })*
                }
            }

            fn decode(
                from: &mut $crate::recorder::coding::Reader<'_>,
            ) -> Result<Self, $crate::recorder::coding::Malformed> {
                match from.byte()? {
                    $($tag => {
                        $($(let $part = $crate::recorder::coding::Coded::decode(from)?;)*)?
                        $($(let $field = $crate::recorder::coding::Coded::decode(from)?;)*)?
                        Ok(Self::$variant $(($($part),*))? $({ $($field),* })?)
                    })*
                    _ => Err($crate::recorder::coding::Malformed(
                        concat!("there is no such ", stringify!($type)),
                    )),
                }
            }
        }
    };
}

pub(crate) use {coded_enum, coded_struct};

macro_rules! coded_numbers {
    ($($number:ty as $wide:ty),*) => {$(
        impl Coded for $number {
            fn encode(&self, out: &mut Writer) {
                out.var_int(*self as $wide);
            }

            fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                let value = from.var_int::<$wide>()?;
                Self::try_from(value).map_err(|_| Malformed("a number is out of range"))
            }
        }
    )*};
}

coded_numbers!(u32 as u64, u64 as u64, usize as u64, i64 as i64);

impl Coded for bool {
    fn encode(&self, out: &mut Writer) {
        out.byte(u8::from(*self));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("yes or no is neither")),
        }
    }
}

impl Coded for NonZeroU64 {
    fn encode(&self, out: &mut Writer) {
        self.get().encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(u64::decode(from)?).ok_or(Malformed("a number is zero that cannot be"))
    }
}

impl Coded for Bytes {
    fn encode(&self, out: &mut Writer) {
        out.run(self);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.run().map(Self::copy_from_slice)
    }
}

impl Coded for String {
    fn encode(&self, out: &mut Writer) {
        out.run(self.as_bytes());
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_utf8(from.run()?.to_vec()).map_err(|_| Malformed("a text is none"))
    }
}

impl<T: Coded> Coded for Option<T> {
    fn encode(&self, out: &mut Writer) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        bool::decode(from)?.then(|| T::decode(from)).transpose()
    }
}

impl<T: Coded, E: Coded> Coded for Result<T, E> {
    fn encode(&self, out: &mut Writer) {
        self.is_ok().encode(out);
        match self {
            Ok(value) => value.encode(out),
            Err(error) => error.encode(out),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(if bool::decode(from)? {
            Ok(T::decode(from)?)
        } else {
            Err(E::decode(from)?)
        })
    }
}

impl<T: Coded> Coded for Vec<T> {
    fn encode(&self, out: &mut Writer) {
        encode_list(self, out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        // The length is not believed before as many values are there.
        let length = usize::decode(from)?;
        (0..length).map(|_| T::decode(from)).collect()
    }
}

/// What a `Vec` of the same values would be.
fn encode_list<T: Coded>(list: &[T], out: &mut Writer) {
    list.len().encode(out);
    for value in list {
        value.encode(out);
    }
}

macro_rules! coded_pointers {
    ($($pointer:ident),*) => {$(
        impl<T: Coded> Coded for $pointer<T> {
            fn encode(&self, out: &mut Writer) {
                (**self).encode(out);
            }

            fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                T::decode(from).map(Self::new)
            }
        }
    )*};
}

coded_pointers!(Box, Arc);
