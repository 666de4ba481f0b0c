//! What commands do to the state machine.

use std::collections::BTreeMap;

use almadia::{ConfState, Entries, Entry, NodeId, Payload};

use super::*;
use crate::command::{Command, Session, Write};
use crate::region::BEGIN;

/// A state machine with one region of all keys, and what is appended to its log.
struct Machine {
    state: State,
    last: LogId,
    _dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let state = State::open(&dir.path().join("state")).expect("it opens");
        let membership = ConfState::of_voters(NodeId::new(1));
        let range = KeyRange::default();
        let region = Region::new(RegionId::FIRST, range, &membership, BTreeMap::new());
        state.change().put_region(&region).expect("it is written");
        Self {
            state,
            last: BEGIN,
            _dir: dir,
        }
    }

    fn apply(&mut self, command: &Command) -> Vec<Effect> {
        self.last.index = self.last.index.next();
        self.apply_at(self.last, command)
    }

    fn apply_at(&self, id: LogId, command: &Command) -> Vec<Effect> {
        let entry = Entry {
            id,
            payload: Payload::Data(command.encode().into()),
            context: bytes::Bytes::new(),
        };
        let entries = Entries::from(vec![entry]);
        let mut states = self.state.change();
        let region = states.region(RegionId::FIRST).expect("it is read");
        let mut region = region.expect("it is there");
        let mut effects = Vec::new();
        let applied = states.apply(&mut region, &entries, &BTreeMap::new(), &mut effects);
        applied.expect("it is applied");
        effects
    }

    fn write(&mut self, session: Option<(&str, u64)>, write: Write) -> Outcome {
        self.write_all(session, vec![write])
    }

    fn write_all(&mut self, session: Option<(&str, u64)>, writes: Vec<Write>) -> Outcome {
        let session = session.map(|(client, sequence)| Session {
            client: client.to_owned(),
            sequence,
        });
        let effects = self.apply(&Command::Write { session, writes });
        match effects.into_iter().next() {
            Some(Effect::Outcome(_, outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn get(&self, key: &str) -> Option<String> {
        let value = self.state.view().get(key.as_bytes()).expect("it is read");
        value.map(|value| String::from_utf8(value).expect("it is text"))
    }
}

fn put(key: &str, value: &str) -> Write {
    Write::Put {
        key: key.into(),
        value: value.into(),
    }
}

fn cas(key: &str, expected: Option<&str>, value: Option<&str>) -> Write {
    Write::Cas {
        key: key.into(),
        expected: expected.map(Into::into),
        value: value.map(Into::into),
    }
}

#[test]
fn a_write_that_is_sent_again_is_done_once() {
    let mut machine = Machine::new();
    assert_eq!(machine.write(Some(("a", 1)), put("k", "1")), Outcome::Done);
    let swap = || cas("k", Some("1"), Some("2"));
    assert_eq!(machine.write(Some(("a", 2)), swap()), Outcome::Done);
    assert_eq!(machine.write(Some(("b", 1)), put("k", "3")), Outcome::Done);
    // The same answer, and nothing is changed.
    assert_eq!(machine.write(Some(("a", 2)), swap()), Outcome::Done);
    assert_eq!(machine.get("k").as_deref(), Some("3"));
    let old = machine.write(Some(("a", 1)), put("k", "4"));
    assert_eq!(old, Outcome::OldSequence { last: 2 });
    assert_eq!(machine.get("k").as_deref(), Some("3"));
}

/// It may have written in other regions before.
#[test]
fn a_client_may_begin_with_any_number() {
    let mut machine = Machine::new();
    assert_eq!(machine.write(Some(("a", 7)), put("k", "1")), Outcome::Done);
    let old = machine.write(Some(("a", 6)), put("k", "2"));
    assert_eq!(old, Outcome::OldSequence { last: 7 });
}

#[test]
fn an_entry_is_applied_once() {
    let mut machine = Machine::new();
    let command = |value: &str| Command::Write {
        session: None,
        writes: vec![put("k", value)],
    };
    machine.apply(&command("1"));
    let effects = machine.apply_at(machine.last, &command("2"));
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(machine.get("k").as_deref(), Some("1"));
}

#[test]
fn a_swap_needs_what_it_expects() {
    let mut machine = Machine::new();
    let unequal = |current: Option<&str>| Outcome::Unequal {
        key: "k".into(),
        current: current.map(Into::into),
    };
    assert_eq!(
        machine.write(None, cas("k", Some("0"), Some("1"))),
        unequal(None)
    );
    assert_eq!(
        machine.write(None, cas("k", None, Some("1"))),
        Outcome::Done
    );
    assert_eq!(
        machine.write(None, cas("k", None, Some("2"))),
        unequal(Some("1"))
    );
    assert_eq!(
        machine.write(None, cas("k", Some("1"), None)),
        Outcome::Done
    );
    assert_eq!(machine.get("k"), None);
}

#[test]
fn a_batch_is_done_whole_or_not_at_all() {
    let mut machine = Machine::new();
    machine.write(None, put("a", "0"));
    let batch = vec![
        put("a", "1"),
        put("b", "1"),
        Write::Delete { key: "a".into() },
        cas("b", Some("2"), Some("3")),
    ];
    let outcome = machine.write_all(None, batch);
    assert!(matches!(outcome, Outcome::Unequal { .. }), "{outcome:?}");
    assert_eq!(machine.get("a").as_deref(), Some("0"));
    assert_eq!(machine.get("b"), None);
    let batch = vec![put("a", "1"), cas("a", Some("1"), Some("2"))];
    assert_eq!(machine.write_all(None, batch), Outcome::Done);
    assert_eq!(machine.get("a").as_deref(), Some("2"));
}

#[test]
fn a_region_forgets_the_clients_that_were_silent_for_longest() {
    let mut machine = Machine::new();
    for client in 0..=MAX_SESSIONS {
        let client = format!("c{client}");
        assert_eq!(
            machine.write(Some((&client, 1)), put("k", "1")),
            Outcome::Done
        );
        // This one is not silent.
        if client == "c0" || client == "c5000" {
            let number = if client == "c0" { 2 } else { 3 };
            machine.write(Some(("c0", number)), put("k", "2"));
        }
    }
    assert_eq!(machine.write(Some(("c0", 4)), put("k", "3")), Outcome::Done);
    assert_eq!(
        machine.write(Some(("c1", 2)), put("k", "3")),
        Outcome::UnknownClient
    );
    assert_eq!(machine.write(Some(("c2", 2)), put("k", "3")), Outcome::Done);
    let view = machine.state.view();
    let known = sessions(&view.0, RegionId::FIRST).expect("they are read");
    assert_eq!(known.len() as u64, MAX_SESSIONS);
}

#[test]
fn both_parts_of_a_region_remember_its_clients() {
    let mut machine = Machine::new();
    machine.write(Some(("a", 1)), put("x", "1"));
    let new = RegionId(7);
    let split = |at: &str| Command::Split { at: at.into(), new };
    let effects = machine.apply(&split("m"));
    let [Effect::Split(part), Effect::Outcome(_, Outcome::Done)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!((part.id, part.applied()), (new, BEGIN));
    assert_eq!(part.range.start, b"m");
    // What is not in the region any more is not written by it, nor divided again.
    let outcome = machine.write(Some(("a", 2)), put("x", "2"));
    assert_eq!(outcome, Outcome::OutsideOfRegion);
    let effects = machine.apply(&split("n"));
    assert!(
        matches!(
            effects.as_slice(),
            [Effect::Outcome(_, Outcome::OutsideOfRegion)]
        ),
        "{effects:?}"
    );
    let view = machine.state.view();
    for id in [RegionId::FIRST, new] {
        let known = sessions(&view.0, id).expect("they are read");
        assert_eq!(known.len(), 1, "region {id}");
    }
    assert_eq!(
        view.get(b"x").expect("it is read").as_deref(),
        Some(&b"1"[..])
    );
}

#[test]
fn what_is_exported_is_the_same_elsewhere() {
    let mut machine = Machine::new();
    for key in ["a", "b", "c", "d"] {
        machine.write(
            Some(("client", u64::from(key.as_bytes()[0] - b'a') + 1)),
            put(key, key),
        );
    }
    machine.write(None, Write::Delete { key: "c".into() });
    let view = machine.state.lasting_view().expect("it is made");
    // What is applied afterwards is not in it.
    machine.write(None, put("a", "later"));
    let region = view
        .region(RegionId::FIRST)
        .expect("it is read")
        .expect("it is there");
    let mut records = Vec::new();
    let exported = view.export::<StateError>(&region, |record| {
        records.push(record);
        Ok(())
    });
    exported.expect("it is exported");

    let other = Machine::new();
    other
        .state
        .change()
        .0
        .insert(data_key(b"old"), b"1".to_vec());
    let mut records = records.into_iter();
    let replaced = other
        .state
        .replace(region.id, Some(&region), || Ok(records.next()));
    replaced.expect("it is taken in");
    let (pairs, is_more) = other
        .state
        .view()
        .scan(&KeyRange::default(), 10, 1 << 20)
        .expect("it is read");
    let pair = |key: &str| (key.as_bytes().to_vec(), key.as_bytes().to_vec());
    assert_eq!(
        (pairs, is_more),
        (vec![pair("a"), pair("b"), pair("d")], false)
    );
    let mut other = other;
    other.last = region.applied();
    let again = other.write(Some(("client", 4)), put("d", "again"));
    assert_eq!(again, Outcome::Done);
    assert_eq!(
        other.get("d").as_deref(),
        Some("d"),
        "the client is remembered"
    );
}
