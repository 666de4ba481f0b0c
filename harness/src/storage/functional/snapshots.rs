//! Cases about snapshots and compaction.
//!
//! Owns what is written in them. Must not know how answers are judged.

use almadia::{Bytes, ConfState, LogId, LogIndex, Snapshot, Term};

use super::super::model::Action;
use super::super::{Subject, plan};
use super::{Done, Script, plain, snapshot};

/// The log 1/1 1/2 1/3 2/4 2/5 2/6, with 5 committed durably.
fn log<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.append_at(&[(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)])?;
    script.commit(5)
}

/// One snapshot after the other, the log as it was.
pub(super) fn saved<S: Subject>(script: &mut Script<'_, S>) -> Done {
    log(script)?;
    script.save(1, 2)?;
    script.reopen()?;
    script.save(1, 3)?;
    script.save(2, 5)?;
    script.append_at(&[(3, 7)])
}

/// Memberships of every shape come back as they were, from snapshots that were saved and from those
/// that were installed, and for the next start.
pub(super) fn membership<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.append((1..=9).map(|index| plain(1, index)).collect())?;
    script.commit(8)?;
    for (conf_state, index) in plan::memberships().into_iter().zip(1..) {
        let saved = Snapshot {
            conf_state: conf_state.clone(),
            ..snapshot(1, index)
        };
        script.perform(&Action::SaveSnapshot(saved))?;
        script.reopen()?;
        let installed = Snapshot {
            conf_state,
            ..snapshot(20, 20 + index)
        };
        if index == 4 {
            script.install(installed)?;
        }
    }
    for (conf_state, index) in plan::memberships().into_iter().zip(31..) {
        script.install(Snapshot {
            conf_state,
            ..snapshot(20, index)
        })?;
        script.reopen()?;
    }
    Ok(())
}

/// Content of any size, none included.
pub(super) fn data<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.append((1..=6).map(|index| plain(1, index)).collect())?;
    script.commit(6)?;
    let large: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_be_bytes()[2]).collect();
    let contents = [Bytes::new(), Bytes::from_static(&[0]), Bytes::from(large)];
    for (data, index) in contents.into_iter().zip(1..) {
        let saved = Snapshot {
            data: data.clone(),
            ..snapshot(1, index)
        };
        script.perform(&Action::SaveSnapshot(saved))?;
        script.reopen()?;
        if index == 3 {
            script.install(Snapshot {
                data,
                ..snapshot(9, 20)
            })?;
        }
    }
    Ok(())
}

/// The term before the first entry stays known, and nothing else is lost.
pub(super) fn compaction<S: Subject>(script: &mut Script<'_, S>) -> Done {
    log(script)?;
    script.save(2, 5)?;
    script.compact(1)?;
    script.compact(3)?;
    script.reopen()?;
    script.compact(4)?;
    script.append_at(&[(4, 6), (4, 7)])?;
    script.reopen()?;
    script.compact(5)
}

/// The log becomes empty, and goes on from there.
pub(super) fn compaction_of_all<S: Subject>(script: &mut Script<'_, S>) -> Done {
    log(script)?;
    script.commit(6)?;
    script.save(2, 6)?;
    script.compact(6)?;
    script.reopen()?;
    script.compact(6)?;
    script.append_at(&[(4, 7), (4, 8)])
}

/// Compaction up to where it has been, or before that, leaves everything as it is.
pub(super) fn compaction_again<S: Subject>(script: &mut Script<'_, S>) -> Done {
    log(script)?;
    script.save(2, 4)?;
    script.compact(4)?;
    script.compact(4)?;
    script.compact(2)?;
    script.compact(0)?;
    script.reopen()?;
    script.compact(1)
}

/// Asked to forget what no snapshot covers, in the log and beyond it.
pub(super) fn compaction_beyond<S: Subject>(script: &mut Script<'_, S>) -> Done {
    log(script)?;
    script.compact_too_far(3)?;
    script.save(1, 3)?;
    script.compact_too_far(5)?;
    script.compact_too_far(6)?;
    script.reopen()?;
    script.compact_too_far(50)?;
    script.compact_too_far(LogIndex::MAX.0)?;
    script.append_at(&[(4, 7)])
}

pub(super) fn install_in_empty_log<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.install(snapshot(3, 10))?;
    script.reopen()?;
    script.append_at(&[(3, 11), (4, 12)])?;
    script.commit(12)?;
    script.save(3, 11)?;
    script.compact(11)
}

/// The snapshot begins behind the log, and entries may come with it.
pub(super) fn install_over_shorter_log<S: Subject>(script: &mut Script<'_, S>) -> Done {
    log(script)?;
    script.save(1, 3)?;
    script.install(snapshot(3, 10))?;
    script.reopen()?;
    let mut write = script.installation(snapshot(5, 20));
    write.entries = vec![
        vec![plain(5, 21), plain(5, 22)].into(),
        vec![plain(5, 23)].into(),
    ];
    script.write(write)
}

/// The snapshot ends inside a log that has something else there: all of that goes.
pub(super) fn install_over_longer_log<S: Subject>(script: &mut Script<'_, S>) -> Done {
    log(script)?;
    script.append((7..40).map(|index| plain(4, index)).collect())?;
    script.install(snapshot(5, 8))?;
    script.append_at(&[(5, 9)])?;
    script.reopen()?;
    script.append_at(&[(6, 10), (6, 11), (6, 12)])?;
    script.install(snapshot(7, 11))
}

/// A snapshot that was asked for may end where the log does, or where the last one did.
pub(super) fn install_again<S: Subject>(script: &mut Script<'_, S>) -> Done {
    log(script)?;
    script.commit(6)?;
    script.install(snapshot(2, 6))?;
    script.install(snapshot(2, 6))?;
    script.reopen()?;
    script.install(snapshot(2, 6))?;
    script.append_at(&[(5, 7)])
}

/// A node that nobody has told yet whom it belongs to, until a snapshot does.
pub(super) fn joining<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.hard_state(4, Some(2), 0)?;
    script.reopen()?;
    let told = Snapshot {
        last_included: LogId {
            term: Term(4),
            index: LogIndex(7),
        },
        conf_state: ConfState::of_voters([1, 2].map(plan::node)),
        data: Bytes::from_static(b"state"),
    };
    script.install(told)
}
