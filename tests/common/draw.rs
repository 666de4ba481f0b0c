//! Values out of bytes: from a fuzzer's input, or from random bytes, alike.
//!
//! Owns the ways of choosing. Where the bytes end every choice is the first one, so what comes first
//! is to be the plainest, and short inputs are simple cases. Knows nothing of what is drawn.

use arbitrary::{Error, Result, Unstructured};

/// Draws one value.
pub(crate) type Draw<T> = fn(&mut Unstructured<'_>) -> Result<T>;

/// One of these, as often as its weight says.
pub(crate) fn one_of<T>(bytes: &mut Unstructured<'_>, choices: &[(u8, Draw<T>)]) -> Result<T> {
    let total: u16 = choices.iter().map(|&(weight, _)| u16::from(weight)).sum();
    let mut rest = bytes.int_in_range(1..=total)?;
    for &(weight, draw) in choices {
        let weight = u16::from(weight);
        if rest <= weight {
            return draw(bytes);
        }
        rest -= weight;
    }
    Err(Error::EmptyChoose)
}

/// Once in so many times.
pub(crate) fn once_in(bytes: &mut Unstructured<'_>, times: u8) -> Result<bool> {
    Ok(bytes.int_in_range(1..=times)? == times)
}

/// So many of these at most.
pub(crate) fn at_most<T>(
    bytes: &mut Unstructured<'_>,
    most: usize,
    draw: Draw<T>,
) -> Result<Vec<T>> {
    let count = bytes.int_in_range(0..=most)?;
    (0..count).map(|_| draw(bytes)).collect()
}

/// So many of these at most, fewer if the bytes end.
pub(crate) fn until_the_end<T>(
    bytes: &mut Unstructured<'_>,
    most: usize,
    draw: Draw<T>,
) -> Result<Vec<T>> {
    let mut drawn = Vec::new();
    while !bytes.is_empty() && drawn.len() < most {
        drawn.push(draw(bytes)?);
    }
    Ok(drawn)
}
