//! The door: every message is looked at here before it can change anything.
//!
//! Owns the checks that a message makes sense by itself and against the log. Changes nothing, so a
//! refused message leaves the node as it was. What is merely late, repeated or from an old term is
//! no error; the roles deal with it.

use alloc::boxed::Box;

use super::core::Core;
use crate::entry::Snapshot;
use crate::error::StepError;
use crate::membership::Membership;
use crate::message::{
    AppendEntries, AppendEntriesResponse, Body, Message, MessageKind, VoteResponse,
};
use crate::storage::Storage;
use crate::types::{LogId, LogIndex, Term};

pub(super) fn check<S: Storage>(core: &Core<S>, message: &Message) -> Result<(), StepError> {
    check_envelope(core, message)?;
    let Message { term, body, .. } = message;
    let kind = body.kind();
    match body {
        Body::RequestVote(request) | Body::PreVote(request) => {
            check_position(request.last_log, *term, kind, "last_log")?;
            check_position(request.commit, *term, kind, "commit")
        }
        Body::RequestVoteResponse(response) | Body::PreVoteResponse(response) => match response {
            VoteResponse::Granted => Ok(()),
            VoteResponse::Refused { commit } => check_position(*commit, *term, kind, "commit"),
        },
        Body::AppendEntries(append) => check_append(core, *term, append),
        Body::AppendEntriesResponse(response) => check_response(*term, response),
        Body::Heartbeat(heartbeat) => {
            check_index(heartbeat.leader_commit, kind, "leader_commit")?;
            check_reaches(core, message, heartbeat.leader_commit)
        }
        Body::HeartbeatResponse(response) => {
            check_index(response.commit_index, kind, "commit_index")
        }
        Body::InstallSnapshot(snapshot) => {
            check_snapshot(core, *term, snapshot)?;
            check_agrees_with_committed(core, *term, snapshot.last_included)
        }
        Body::Propose(proposals) if proposals.is_empty() => Err(StepError::NoProposals),
        Body::Propose(_) => Ok(()),
        Body::ReadIndexResponse(response) => check_index(response.read_index, kind, "read_index"),
        Body::TimeoutNow | Body::ReadIndex(_) | Body::TransferLeader { .. } => Ok(()),
    }
}

fn check_envelope<S: Storage>(core: &Core<S>, message: &Message) -> Result<(), StepError> {
    let &Message {
        to,
        from,
        term,
        ref body,
    } = message;
    let kind = body.kind();
    if to != core.id() {
        return Err(StepError::NotForThisNode { to });
    }
    if from == core.id() {
        return Err(StepError::FromThisNode);
    }
    let (has_term, members_only) = match body {
        // A node that joins does not know its leader yet, and a member that was away may not
        // know the latest leader or candidate as a member.
        Body::RequestVote(_)
        | Body::PreVote(_)
        | Body::AppendEntries(_)
        | Body::Heartbeat(_)
        | Body::InstallSnapshot(_) => (true, false),
        // A voter that has seen no term yet refuses in term zero.
        Body::PreVoteResponse(VoteResponse::Refused { .. }) => (term > Term::ZERO, true),
        Body::RequestVoteResponse(_)
        | Body::PreVoteResponse(VoteResponse::Granted)
        | Body::AppendEntriesResponse(_)
        | Body::HeartbeatResponse(_) => (true, true),
        // From the leader, who may be gone, or not yet there, in the membership applied here.
        Body::TimeoutNow | Body::ReadIndexResponse(_) => (true, term > core.current_term),
        Body::Propose(_) | Body::ReadIndex(_) => (false, true),
        // raft-rs forwards it with a term and asks for it without one.
        Body::TransferLeader { .. } => (term > Term::ZERO, true),
    };
    if has_term && term == Term::ZERO {
        return Err(StepError::TermMissing(kind));
    }
    if !has_term && term > Term::ZERO {
        return Err(StepError::TermForbidden(kind));
    }
    if term > Term::MAX {
        return Err(StepError::OutOfRange {
            kind,
            field: "term",
        });
    }
    if members_only && !core.membership.contains(from) {
        return Err(StepError::NotAMember { from, kind });
    }
    Ok(())
}

/// A place in somebody's log, of no later term than the message.
fn check_position(
    id: LogId,
    term: Term,
    kind: MessageKind,
    field: &'static str,
) -> Result<(), StepError> {
    if id.is_position() && id.term <= term {
        Ok(())
    } else {
        Err(StepError::OutOfRange { kind, field })
    }
}

fn check_index(index: LogIndex, kind: MessageKind, field: &'static str) -> Result<(), StepError> {
    if index <= LogIndex::MAX {
        Ok(())
    } else {
        Err(StepError::OutOfRange { kind, field })
    }
}

fn check_append<S: Storage>(
    core: &Core<S>,
    term: Term,
    append: &AppendEntries,
) -> Result<(), StepError> {
    let kind = MessageKind::AppendEntries;
    let AppendEntries {
        prev_log,
        leader_commit,
        ref entries,
    } = *append;
    check_position(prev_log, term, kind, "prev_log")?;
    check_index(leader_commit, kind, "leader_commit")?;
    if !entries.follow(prev_log) {
        return Err(StepError::MalformedEntries { prev_log });
    }
    if entries.last_id().is_some_and(|last| last.term > term) {
        return Err(StepError::OutOfRange {
            kind,
            field: "entries",
        });
    }
    if term < core.current_term {
        return Ok(());
    }
    let commit_index = core.log.commit_index();
    let prev_contradicts = prev_log.index <= commit_index
        && core
            .log
            .term(prev_log.index)?
            .is_some_and(|term| term != prev_log.term);
    let conflict = if prev_contradicts {
        Some(prev_log)
    } else if prev_log.index < commit_index {
        core.log.conflict_with_committed(entries)?
    } else {
        None
    };
    conflict.map_or(Ok(()), |entry| {
        Err(StepError::ConflictsWithCommitted {
            entry,
            commit_index,
        })
    })
}

fn check_response(term: Term, response: &AppendEntriesResponse) -> Result<(), StepError> {
    let kind = MessageKind::AppendEntriesResponse;
    match *response {
        AppendEntriesResponse::Accepted {
            match_index,
            commit_index,
        } => {
            check_index(match_index, kind, "match_index")?;
            check_index(commit_index, kind, "commit_index")
        }
        AppendEntriesResponse::Rejected {
            prev_index,
            hint,
            commit_index,
        } => {
            check_index(prev_index, kind, "prev_index")?;
            check_index(commit_index, kind, "commit_index")?;
            check_index(hint.index, kind, "hint")?;
            if hint.term > term {
                return Err(StepError::OutOfRange {
                    kind,
                    field: "hint",
                });
            }
            Ok(())
        }
        AppendEntriesResponse::SnapshotRequested {
            last_log,
            commit_index,
            request_index,
        } => {
            check_position(last_log, term, kind, "last_log")?;
            check_index(commit_index, kind, "commit_index")?;
            check_index(request_index, kind, "request_index")
        }
        AppendEntriesResponse::TermOutdated => Ok(()),
    }
}

/// A heartbeat tells of nothing that this node has not acknowledged. If its log does not reach
/// there, it has lost its end: no reason to stop, every reason to tell both sides (Deviation D5).
fn check_reaches<S: Storage>(
    core: &Core<S>,
    message: &Message,
    leader_commit: LogIndex,
) -> Result<(), StepError> {
    let last_log = core.log.last();
    if message.term < core.current_term || leader_commit <= last_log.index {
        return Ok(());
    }
    let rejected = AppendEntriesResponse::Rejected {
        prev_index: leader_commit,
        hint: last_log,
        commit_index: core.log.commit_index(),
    };
    let reply = Box::new(Message {
        to: message.from,
        from: core.id(),
        term: message.term,
        body: Body::AppendEntriesResponse(rejected),
    });
    Err(StepError::CommitBeyondLog {
        leader_commit,
        last_log,
        reply,
    })
}

/// What is committed here is part of every snapshot of a correct leader that ends behind it, and of
/// every log (Leader Completeness, Raft 5.4.3).
fn check_agrees_with_committed<S: Storage>(
    core: &Core<S>,
    term: Term,
    last_included: LogId,
) -> Result<(), StepError> {
    let commit_index = core.log.commit_index();
    if term < core.current_term {
        return Ok(());
    }
    let here = core.log.term(last_included.index.min(commit_index))?;
    let contradicts = here.is_some_and(|here| {
        if last_included.index <= commit_index {
            last_included.term != here
        } else {
            last_included.term < here
        }
    });
    if contradicts {
        return Err(StepError::ConflictsWithCommitted {
            entry: last_included,
            commit_index,
        });
    }
    Ok(())
}

/// Checks a snapshot, and returns its membership in the checked form.
pub(super) fn check_snapshot<S: Storage>(
    core: &Core<S>,
    term: Term,
    snapshot: &Snapshot,
) -> Result<Membership, StepError> {
    let kind = MessageKind::InstallSnapshot;
    check_position(snapshot.last_included, term, kind, "last_included")?;
    if snapshot.last_included == LogId::ZERO {
        return Err(StepError::OutOfRange {
            kind,
            field: "last_included",
        });
    }
    let membership =
        Membership::try_from(&snapshot.conf_state).map_err(StepError::SnapshotMembership)?;
    if !membership.contains(core.id()) {
        return Err(StepError::SnapshotWithoutThisNode);
    }
    Ok(membership)
}
