//! Which operations on files are durable, and what a crash makes of the others.
//!
//! Owns the model of a disk: names and contents are synced apart, names keep their order, contents
//! do not. Must not know the store, nor the handles it has.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// Something done to the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create {
        name: PathBuf,
        file: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        name: PathBuf,
    },
    SyncDirectory,
    Write {
        file: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    Resize {
        file: u64,
        size_bytes: u64,
    },
    Sync {
        file: u64,
    },
}

impl Operation {
    /// Whether it is about which files there are.
    const fn is_of_names(&self) -> bool {
        matches!(
            self,
            Self::Create { .. } | Self::Rename { .. } | Self::Remove { .. }
        )
    }

    /// The file whose content it changes.
    const fn content(&self) -> Option<u64> {
        match self {
            Self::Write { file, .. } | Self::Resize { file, .. } => Some(*file),
            Self::Create { .. }
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::SyncDirectory
            | Self::Sync { .. } => None,
        }
    }

    const fn is_sync(&self) -> bool {
        matches!(self, Self::SyncDirectory | Self::Sync { .. })
    }

    /// Whether this is an fsync of what the other one changes.
    fn makes_durable(&self, other: &Self) -> bool {
        match self {
            Self::SyncDirectory => other.is_of_names(),
            Self::Sync { file } => other.content() == Some(*file),
            Self::Create { .. }
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::Write { .. }
            | Self::Resize { .. } => false,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Create { name, .. } => format!("create {}", name.display()),
            Self::Rename { from, to } => format!("rename {} to {}", from.display(), to.display()),
            Self::Remove { name } => format!("remove {}", name.display()),
            Self::SyncDirectory => "sync the directory".into(),
            Self::Write {
                file,
                offset,
                bytes,
            } => format!("write {} bytes at {offset} of file {file}", bytes.len()),
            Self::Resize { file, size_bytes } => {
                format!("resize file {file} to {size_bytes} bytes")
            }
            Self::Sync { file } => format!("sync file {file}"),
        }
    }
}

/// Files by name, and contents by the number that a file has for life.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    names: BTreeMap<PathBuf, u64>,
    contents: BTreeMap<u64, Vec<u8>>,
}

impl Files {
    pub(super) fn names(&self) -> impl Iterator<Item = &PathBuf> {
        self.names.keys()
    }

    pub(super) fn file_of(&self, name: &Path) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no file {}", name.display()),
            )
        })
    }

    pub(super) fn content(&self, file: u64) -> &[u8] {
        self.contents.get(&file).map_or(&[], Vec::as_slice)
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name, file } => {
                self.names.insert(name.clone(), *file);
            }
            Operation::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Operation::Remove { name } => {
                self.names.remove(name);
            }
            Operation::Write {
                file,
                offset,
                bytes,
            } => {
                let content = self.contents.entry(*file).or_default();
                let start = to_size(*offset);
                let end = start + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }
            Operation::Resize { file, size_bytes } => {
                let content = self.contents.entry(*file).or_default();
                content.resize(to_size(*size_bytes), 0);
            }
            Operation::SyncDirectory | Operation::Sync { .. } => {}
        }
    }
}

fn to_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What is on the disk, and what is on its way there.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    durable: Files,
    unsynced: Vec<Operation>,
}

impl Journal {
    pub(super) fn advance(&mut self, operations: &[Operation]) {
        for operation in operations {
            if operation.is_sync() {
                self.settle(operation);
            } else {
                self.unsynced.push(operation.clone());
            }
        }
    }

    fn settle(&mut self, sync: &Operation) {
        let (synced, rest) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|it| sync.makes_durable(it));
        self.unsynced = rest;
        let synced: Vec<Operation> = synced;
        for operation in synced {
            self.durable.apply(&operation);
        }
    }

    /// The files with everything that was done to them.
    pub(super) fn live(&self) -> Files {
        let mut files = self.durable.clone();
        for operation in &self.unsynced {
            files.apply(operation);
        }
        files
    }
}

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The process ends, the system goes on: all of it is seen, and still not synced.
    Seen,
    /// None of it is there.
    Lost,
    /// Names are there, contents are not.
    NamesOnly,
    /// Contents are there, names are not.
    ContentsOnly,
    /// The last of the names is not there.
    LastNameLost,
    /// Of the last write only so many bytes are there.
    LastCut(u64),
    /// The last write has so many of its bytes, and zeros for the others: the size was written, and
    /// the rest was not.
    LastTorn(u64),
    /// Of the contents only the last write is there.
    LastOnly,
    /// Any part is there.
    AnyPart(u64),
}

/// A crash: after so many operations, with this fate of the unsynced ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct CrashPoint {
    pub(super) done: usize,
    fate: Fate,
}

/// Every crash within or just after these operations.
pub(super) fn crash_points(before: &Journal, operations: &[Operation]) -> Vec<CrashPoint> {
    let mut points = Vec::new();
    let mut unsynced: Vec<&Operation> = before.unsynced.iter().collect();
    // What comes before the first operation came after the last one of the action before.
    let first = usize::from(!operations.is_empty());
    for done in 0..=operations.len() {
        match done.checked_sub(1).map(|last| &operations[last]) {
            None => {}
            Some(sync) if sync.is_sync() => unsynced.retain(|it| !sync.makes_durable(it)),
            Some(other) => unsynced.push(other),
        }
        if done >= first {
            let fates = fates(&unsynced, done);
            points.extend(fates.into_iter().map(|fate| CrashPoint { done, fate }));
        }
    }
    points
}

fn fates(unsynced: &[&Operation], done: usize) -> Vec<Fate> {
    let mut fates = vec![Fate::Seen];
    let names = unsynced.iter().filter(|it| it.is_of_names()).count();
    let contents = unsynced.len() - names;
    if !unsynced.is_empty() {
        fates.push(Fate::Lost);
    }
    if names > 1 {
        fates.push(Fate::LastNameLost);
    }
    if names > 0 && contents > 0 {
        fates.extend([Fate::NamesOnly, Fate::ContentsOnly]);
    }
    if let Some(size) = unsynced.iter().rev().find_map(|it| written_bytes(it)) {
        let mut cuts = vec![1, size / 2, size.saturating_sub(1)];
        cuts.retain(|&cut| 0 < cut && cut < size);
        cuts.dedup();
        fates.extend(cuts.into_iter().map(Fate::LastCut));
        fates.extend([0, size / 2].map(Fate::LastTorn));
    }
    if contents > 1 {
        fates.push(Fate::LastOnly);
    }
    if unsynced.len() > 1 {
        fates.extend([0, 1].map(|half| Fate::AnyPart(2 * done as u64 + half)));
    }
    fates
}

fn written_bytes(operation: &Operation) -> Option<u64> {
    if let Operation::Write { bytes, .. } = operation {
        Some(bytes.len() as u64)
    } else {
        None
    }
}

impl CrashPoint {
    /// What is on the disk afterwards, and what still is on its way.
    pub(super) fn leaves(&self, before: &Journal, operations: &[Operation]) -> Journal {
        let mut journal = before.clone();
        journal.advance(&operations[..self.done]);
        if self.fate == Fate::Seen {
            return journal;
        }
        let unsynced = std::mem::take(&mut journal.unsynced);
        for operation in self.survivors(&unsynced) {
            journal.durable.apply(&operation);
        }
        journal
    }

    fn survivors(&self, unsynced: &[Operation]) -> Vec<Operation> {
        let last_write = unsynced.iter().rposition(|it| written_bytes(it).is_some());
        let last_content = unsynced.iter().rposition(|it| it.content().is_some());
        let last_name = unsynced.iter().rposition(Operation::is_of_names);
        let only = |is_kept: &dyn Fn(usize, &Operation) -> bool| {
            let kept = unsynced
                .iter()
                .enumerate()
                .filter(|(at, it)| is_kept(*at, it));
            kept.map(|(_, operation)| operation.clone()).collect()
        };
        match self.fate {
            Fate::Seen => unsynced.to_vec(),
            Fate::Lost => Vec::new(),
            Fate::NamesOnly => only(&|_, it| it.is_of_names()),
            Fate::ContentsOnly => only(&|_, it| !it.is_of_names()),
            Fate::LastNameLost => only(&|at, _| Some(at) != last_name),
            Fate::LastOnly => only(&|at, it| it.is_of_names() || Some(at) == last_content),
            Fate::LastCut(size) => changed(unsynced, last_write, |bytes| {
                bytes.truncate(to_size(size));
            }),
            Fate::LastTorn(size) => changed(unsynced, last_write, |bytes| {
                bytes
                    .iter_mut()
                    .skip(to_size(size))
                    .for_each(|byte| *byte = 0);
            }),
            Fate::AnyPart(seed) => any_part(unsynced, seed),
        }
    }

    pub(super) fn describe(&self, operations: &[Operation]) -> String {
        let fate = match self.fate {
            Fate::Seen => "the process ends, and what is not synced is still seen".into(),
            Fate::Lost => "all is lost that is not synced".into(),
            Fate::NamesOnly => "contents are lost that are not synced, names are not".into(),
            Fate::ContentsOnly => "names are lost that are not synced, contents are not".into(),
            Fate::LastNameLost => "the last unsynced change of a name is lost".into(),
            Fate::LastCut(size) => format!("the last unsynced write is cut to {size} bytes"),
            Fate::LastTorn(size) => {
                format!("the last unsynced write has {size} of its bytes, and zeros for the rest")
            }
            Fate::LastOnly => "of unsynced contents only the last write is there".into(),
            Fate::AnyPart(seed) => format!("a part is there of what is not synced (draw {seed})"),
        };
        let last = self.done.checked_sub(1).and_then(|at| operations.get(at));
        let last = last.map_or_else(|| "nothing".into(), Operation::describe);
        let all = operations.len();
        format!("operation {} of {all} was '{last}'; {fate}", self.done)
    }
}

fn changed(
    unsynced: &[Operation],
    which: Option<usize>,
    change: impl Fn(&mut Vec<u8>),
) -> Vec<Operation> {
    let mut operations = unsynced.to_vec();
    if let Some(Operation::Write { bytes, .. }) = which.and_then(|at| operations.get_mut(at)) {
        change(bytes);
    }
    operations
}

/// Each content with even odds, and the first so many names.
fn any_part(unsynced: &[Operation], seed: u64) -> Vec<Operation> {
    let mut dice = Dice::new(seed);
    let names = unsynced.iter().filter(|it| it.is_of_names()).count();
    let mut names_left = dice.below(names as u64 + 1);
    let kept = unsynced.iter().filter(|operation| {
        if operation.is_of_names() {
            let is_kept = names_left > 0;
            names_left = names_left.saturating_sub(1);
            is_kept
        } else {
            dice.chance(500)
        }
    });
    kept.cloned().collect()
}
