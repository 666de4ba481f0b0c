//! A storage that tells the truth, except where it has been told not to.
//!
//! Owns which wrong answers there are, and when one is given. The truth is a [`MemStorage`]; what is
//! wrong is mostly a change of it, because plain nonsense is noticed at once.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};

use almadia::{
    ConfState, Entries, EntriesRequest, Entry, InitialState, LogId, LogIndex, MemStorage, NodeId,
    Payload, Snapshot, Storage, StorageError, Term,
};
use arbitrary::{Result, Unstructured};

use super::draw::{at_most, once_in, one_of};
use super::faults::{Disk, entry};
use super::messages::{conf_state, huge, member, payload};

/// A number instead of the true one.
#[derive(Clone, Copy, Debug)]
enum Number {
    Off(i8),
    Fixed(u64),
}

impl Number {
    fn instead_of(self, truth: u64) -> u64 {
        match self {
            Self::Off(by) => truth.saturating_add_signed(i64::from(by)),
            Self::Fixed(number) => number,
        }
    }
}

fn number(bytes: &mut Unstructured<'_>) -> Result<Number> {
    one_of(
        bytes,
        &[
            (8, |bytes| {
                let by = *bytes.choose(&[-1, 1, -2, 2, 5, -5])?;
                Ok(Number::Off(by))
            }),
            (4, |bytes| bytes.int_in_range(0..=8).map(Number::Fixed)),
            (1, |bytes| huge(bytes).map(Number::Fixed)),
        ],
    )
}

fn right_or_wrong(bytes: &mut Unstructured<'_>) -> Result<Number> {
    one_of(bytes, &[(2, |_| Ok(Number::Off(0))), (1, number)])
}

/// What is done to the true entries, in a row.
#[derive(Clone, Debug)]
enum Edit {
    /// All that the log has, whatever the limits are.
    Everything,
    KeepFirst(usize),
    DropFirst(usize),
    Repeat(u8),
    Rename(u8, Number, Number),
    Replace(u8, Payload),
    /// So many more behind the last.
    Invent(u8),
}

fn edit(bytes: &mut Unstructured<'_>) -> Result<Edit> {
    one_of(
        bytes,
        &[
            (2, |bytes| bytes.int_in_range(0..=3).map(Edit::KeepFirst)),
            (2, |_| Ok(Edit::Everything)),
            (1, |bytes| bytes.int_in_range(1..=3).map(Edit::DropFirst)),
            (1, |bytes| bytes.int_in_range(0..=7).map(Edit::Repeat)),
            (3, |bytes| {
                let (position, index) = (bytes.int_in_range(0..=7)?, right_or_wrong(bytes)?);
                Ok(Edit::Rename(position, index, right_or_wrong(bytes)?))
            }),
            (1, |bytes| {
                Ok(Edit::Replace(bytes.int_in_range(0..=7)?, payload(bytes)?))
            }),
            (2, |bytes| bytes.int_in_range(1..=4).map(Edit::Invent)),
        ],
    )
}

impl Edit {
    fn apply(&self, run: &mut Vec<Entry>, request: &EntriesRequest, truth: &MemStorage) {
        let chosen = |position: u8| usize::from(position).checked_rem(run.len());
        match *self {
            Self::Everything => *run = everything(request, truth),
            Self::KeepFirst(count) => run.truncate(count),
            Self::DropFirst(count) => drop(run.drain(..count.min(run.len()))),
            Self::Repeat(position) => {
                if let Some(position) = chosen(position) {
                    run.insert(position, run[position].clone());
                }
            }
            Self::Rename(position, index, term) => {
                if let Some(position) = chosen(position) {
                    let id = &mut run[position].id;
                    id.index = LogIndex(index.instead_of(id.index.0));
                    id.term = Term(term.instead_of(id.term.0));
                }
            }
            Self::Replace(position, ref payload) => {
                if let Some(position) = chosen(position) {
                    run[position].payload = payload.clone();
                }
            }
            Self::Invent(count) => {
                for _ in 0..count {
                    let last = run.last().map_or_else(
                        || LogId {
                            term: truth.term(request.first.previous()).unwrap_or(Term(1)),
                            index: request.first.previous(),
                        },
                        |last| last.id,
                    );
                    run.push(entry(last.term.0, last.index.next().0));
                }
            }
        }
    }
}

fn everything(request: &EntriesRequest, truth: &MemStorage) -> Vec<Entry> {
    let last = truth.last_index().unwrap_or_default();
    let all = EntriesRequest::new(request.first, last, u64::MAX, request.purpose);
    truth.entries(&all).unwrap_or_default().to_vec()
}

#[derive(Clone, Debug)]
struct WrongState {
    term: Number,
    commit: Number,
    /// A vote for this node, in place of the true one.
    vote: Option<NodeId>,
    conf_state: Option<ConfState>,
}

#[derive(Clone, Debug)]
struct WrongSnapshot {
    /// From the index asked for.
    index: Number,
    /// From the term that the entry has.
    term: Number,
    conf_state: ConfState,
}

/// An answer, and when it is given: after so many true ones, so many times.
#[derive(Clone, Debug)]
struct Wrong<T> {
    answer: std::result::Result<T, StorageError>,
    after: u8,
    times: u8,
}

fn wrong<T>(
    bytes: &mut Unstructured<'_>,
    draw: fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Wrong<T>> {
    Ok(Wrong {
        times: *bytes.choose(&[1, 1, 2, 200])?,
        after: *bytes.choose(&[0, 0, 0, 1, 1, 2, 3, 5])?,
        answer: if once_in(bytes, 4)? {
            Err(error(bytes)?)
        } else {
            Ok(draw(bytes)?)
        },
    })
}

fn error(bytes: &mut Unstructured<'_>) -> Result<StorageError> {
    let errors = [
        StorageError::TemporarilyUnavailable,
        StorageError::Compacted,
        StorageError::Unavailable,
        StorageError::Contract("a wrapper found something"),
        StorageError::other(std::io::Error::other("the disk is gone")),
    ];
    Ok(bytes.choose(&errors)?.clone())
}

/// A wrong answer of one method.
#[derive(Clone, Debug)]
pub(crate) struct Lie(Method);

#[derive(Clone, Debug)]
enum Method {
    InitialState(Wrong<WrongState>),
    Entries(Wrong<Vec<Edit>>),
    Term(Wrong<Number>),
    FirstIndex(Wrong<Number>),
    LastIndex(Wrong<Number>),
    Snapshot(Wrong<WrongSnapshot>),
}

pub(crate) fn lie(bytes: &mut Unstructured<'_>) -> Result<Lie> {
    let choices: &[(u8, super::draw::Draw<Method>)] = &[
        (6, |bytes| {
            wrong(bytes, |bytes| at_most(bytes, 3, edit)).map(Method::Entries)
        }),
        (5, |bytes| wrong(bytes, number).map(Method::Term)),
        (2, |bytes| wrong(bytes, number).map(Method::FirstIndex)),
        (1, |bytes| wrong(bytes, number).map(Method::LastIndex)),
        (4, |bytes| {
            wrong(bytes, wrong_snapshot).map(Method::Snapshot)
        }),
        (2, |bytes| {
            wrong(bytes, wrong_state).map(Method::InitialState)
        }),
    ];
    one_of(bytes, choices).map(Lie)
}

fn wrong_snapshot(bytes: &mut Unstructured<'_>) -> Result<WrongSnapshot> {
    Ok(WrongSnapshot {
        index: right_or_wrong(bytes)?,
        term: right_or_wrong(bytes)?,
        conf_state: conf_state(bytes)?,
    })
}

fn wrong_state(bytes: &mut Unstructured<'_>) -> Result<WrongState> {
    Ok(WrongState {
        term: right_or_wrong(bytes)?,
        commit: right_or_wrong(bytes)?,
        vote: one_of(
            bytes,
            &[(1, |_| Ok(None)), (1, |bytes| member(bytes).map(Some))],
        )?,
        conf_state: one_of(
            bytes,
            &[(1, |_| Ok(None)), (1, |bytes| conf_state(bytes).map(Some))],
        )?,
    })
}

/// What is wrong with one method's next answers, if anything is.
type Slot<T> = RefCell<Option<Wrong<T>>>;

fn next<T: Clone>(slot: &Slot<T>) -> Option<std::result::Result<T, StorageError>> {
    let mut slot = slot.borrow_mut();
    let wrong = slot.as_mut()?;
    if wrong.after > 0 {
        wrong.after -= 1;
        return None;
    }
    wrong.times -= 1;
    let answer = wrong.answer.clone();
    if wrong.times == 0 {
        *slot = None;
    }
    Some(answer)
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lying {
    truth: MemStorage,
    initial_state: Slot<WrongState>,
    entries: Slot<Vec<Edit>>,
    term: Slot<Number>,
    first_index: Slot<Number>,
    last_index: Slot<Number>,
    snapshot: Slot<WrongSnapshot>,
}

/// Two storages are equal if the same is written there: a question changes nothing.
impl PartialEq for Lying {
    fn eq(&self, other: &Self) -> bool {
        self.truth == other.truth
    }
}

impl Eq for Lying {}

impl Hash for Lying {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.truth.hash(state);
    }
}

impl Lying {
    /// A storage that tells the truth.
    pub(crate) fn honest(truth: MemStorage) -> Self {
        Self {
            truth,
            ..Self::default()
        }
    }

    /// Everything is true from now on.
    pub(crate) fn forget_the_lies(&mut self) {
        *self = Self::honest(std::mem::take(&mut self.truth));
    }

    /// The next answers of this method are wrong.
    pub(crate) fn plan(&mut self, lie: &Lie) {
        match lie.0.clone() {
            Method::InitialState(wrong) => self.initial_state = Some(wrong).into(),
            Method::Entries(wrong) => self.entries = Some(wrong).into(),
            Method::Term(wrong) => self.term = Some(wrong).into(),
            Method::FirstIndex(wrong) => self.first_index = Some(wrong).into(),
            Method::LastIndex(wrong) => self.last_index = Some(wrong).into(),
            Method::Snapshot(wrong) => self.snapshot = Some(wrong).into(),
        }
    }
}

impl Disk for Lying {
    fn disk(&mut self) -> &mut MemStorage {
        &mut self.truth
    }

    fn truth(&self) -> &MemStorage {
        &self.truth
    }
}

type Answer<T> = std::result::Result<T, StorageError>;

impl Storage for Lying {
    fn initial_state(&self) -> Answer<InitialState> {
        let mut state = self.truth.initial_state()?;
        if let Some(wrong) = next(&self.initial_state) {
            let wrong = wrong?;
            let hard_state = &mut state.hard_state;
            hard_state.current_term = Term(wrong.term.instead_of(hard_state.current_term.0));
            hard_state.commit_index = LogIndex(wrong.commit.instead_of(hard_state.commit_index.0));
            hard_state.voted_for = wrong.vote.or(hard_state.voted_for);
            state.conf_state = wrong.conf_state.unwrap_or(state.conf_state);
        }
        Ok(state)
    }

    fn entries(&self, request: &EntriesRequest) -> Answer<Entries> {
        let truth = self.truth.entries(request);
        let Some(wrong) = next(&self.entries) else {
            return truth;
        };
        let mut run = truth.unwrap_or_default().to_vec();
        for edit in wrong? {
            edit.apply(&mut run, request, &self.truth);
        }
        Ok(run.into())
    }

    fn term(&self, index: LogIndex) -> Answer<Term> {
        let truth = self.truth.term(index);
        let Some(wrong) = next(&self.term) else {
            return truth;
        };
        Ok(Term(wrong?.instead_of(truth.unwrap_or_default().0)))
    }

    fn first_index(&self) -> Answer<LogIndex> {
        let truth = self.truth.first_index()?;
        let Some(wrong) = next(&self.first_index) else {
            return Ok(truth);
        };
        Ok(LogIndex(wrong?.instead_of(truth.0)))
    }

    fn last_index(&self) -> Answer<LogIndex> {
        let truth = self.truth.last_index()?;
        let Some(wrong) = next(&self.last_index) else {
            return Ok(truth);
        };
        Ok(LogIndex(wrong?.instead_of(truth.0)))
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Answer<Snapshot> {
        let Some(wrong) = next(&self.snapshot) else {
            return self.truth.snapshot(request_index, to);
        };
        let wrong = wrong?;
        let index = LogIndex(wrong.index.instead_of(request_index.0));
        let term = self.truth.term(index).unwrap_or(Term(1));
        Ok(Snapshot {
            last_included: LogId {
                term: Term(wrong.term.instead_of(term.0)),
                index,
            },
            conf_state: wrong.conf_state,
            data: almadia::Bytes::new(),
        })
    }
}
