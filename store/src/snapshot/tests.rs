//! Snapshots' files that are not what they are said to be.

use std::io::Cursor;

use super::*;

/// A disk that cannot read on.
struct Broken;

impl io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("a bad sector"))
    }
}

/// A record as it stands in a file.
fn record() -> Vec<u8> {
    let record = Record::Data {
        key: "key".into(),
        value: "value".into(),
    };
    let record = postcard::to_stdvec(&record).unwrap();
    let len = u32::try_from(record.len()).unwrap();
    [&len.to_le_bytes()[..], &record].concat()
}

/// Else a region would lack what could not be read, and nobody would know.
#[test]
fn a_file_that_cannot_be_read_to_its_end_is_an_error() {
    let len = record().len() as u64;
    let mut whole = Records {
        file: Cursor::new(record()).chain(Broken),
        left: len,
    };
    assert!(whole.next().unwrap().is_some());
    assert!(whole.next().unwrap().is_none());
    let mut broken = Records {
        file: Cursor::new(record()).chain(Broken),
        left: 2 * len,
    };
    assert!(broken.next().unwrap().is_some());
    assert!(matches!(broken.next(), Err(StateError::Read(_))));
    let mut cut = Records {
        file: Cursor::new(record()),
        left: 2 * len,
    };
    assert!(cut.next().unwrap().is_some());
    assert!(matches!(cut.next(), Err(StateError::Read(_))));
    let mut longer = Records {
        file: Cursor::new(record()),
        left: len - 1,
    };
    assert!(matches!(longer.next(), Err(StateError::Read(_))));
}
