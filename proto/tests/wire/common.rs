//! What the tests of the wire format share.

use almadia::{Body, Bytes, Message, NodeId, Term};

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::new(id).expect("above zero")
}

pub(crate) fn message(to: u64, from: u64, term: u64, body: Body) -> Message {
    Message {
        to: node(to),
        from: node(from),
        term: Term(term),
        body,
    }
}

/// Bytes of a text of hexadecimal digits, in which spaces do not matter.
pub(crate) fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).expect("a hexadecimal digit") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
