//! What messages and entries say, in a few words.
//!
//! Owns the wording and its limits. Must not judge what is said.

use almadia::{
    AppendEntriesResponse, Body, Entries, Entry, LogId, MemberChange, Message, Payload, Snapshot,
    Token, VoteResponse,
};

/// The most characters that are shown of one command.
const MAX_COMMAND: usize = 24;

/// The most commands that are shown of one message or write.
const MAX_COMMANDS: usize = 3;

/// What a message says, beside its kind and term.
pub(super) fn message(message: &Message) -> String {
    match &message.body {
        Body::RequestVote(request) | Body::PreVote(request) => {
            let mut text = format!(
                "last log {}, commit {}",
                position(request.last_log),
                position(request.commit)
            );
            if request.priority != 0 {
                text += &format!(", priority {}", request.priority);
            }
            if request.leadership_transfer {
                text += ", asked to by the leader";
            }
            text
        }
        Body::RequestVoteResponse(response) | Body::PreVoteResponse(response) => match response {
            VoteResponse::Granted => "granted".into(),
            VoteResponse::Refused { commit } => format!("refused, commit {}", position(*commit)),
        },
        Body::AppendEntries(append) => format!(
            "{} after {}, commit {}",
            runs([&append.entries]).unwrap_or_else(|| "nothing".into()),
            position(append.prev_log),
            append.leader_commit,
        ),
        Body::AppendEntriesResponse(response) => append_response(response),
        Body::Heartbeat(heartbeat) => format!(
            "commit {}{}",
            heartbeat.leader_commit,
            token(&heartbeat.token)
        ),
        Body::HeartbeatResponse(response) => {
            format!("commit {}{}", response.commit_index, token(&response.token))
        }
        Body::InstallSnapshot(covering) => snapshot(covering),
        Body::TimeoutNow => "campaign at once".into(),
        Body::Propose(proposals) => {
            let payloads = proposals.iter().map(|proposal| payload(&proposal.payload));
            format!("{} to propose: {}", proposals.len(), list(payloads))
        }
        Body::ReadIndex(asked) => format!("where to read{}", token(asked)),
        Body::ReadIndexResponse(response) => {
            format!("read at {}{}", response.read_index, token(&response.token))
        }
        Body::TransferLeader { transferee } => format!("let node {transferee} lead"),
    }
}

fn append_response(response: &AppendEntriesResponse) -> String {
    match *response {
        AppendEntriesResponse::Accepted {
            match_index,
            commit_index,
        } => format!("accepted up to {match_index}, commit {commit_index}"),
        AppendEntriesResponse::Rejected {
            prev_index,
            hint,
            commit_index,
        } => format!(
            "rejected after {prev_index}, may agree up to {}, commit {commit_index}",
            position(hint)
        ),
        AppendEntriesResponse::SnapshotRequested {
            last_log,
            commit_index,
            request_index,
        } => format!(
            "asks for a snapshot up to {request_index} or later; last log {}, commit {commit_index}",
            position(last_log)
        ),
        AppendEntriesResponse::TermOutdated => "the term is outdated".into(),
    }
}

/// Runs of entries: from where to where, and some of what they carry. `None` if there are none.
pub(super) fn runs<'a>(runs: impl IntoIterator<Item = &'a Entries>) -> Option<String> {
    let entries: Vec<&Entry> = runs.into_iter().flatten().collect();
    let (first, last) = (entries.first()?, entries.last()?);
    let what = if entries.len() == 1 {
        format!("entry {}", first.id)
    } else {
        format!("entries {} to {}", first.id, last.id)
    };
    let payloads = entries.iter().map(|entry| payload(&entry.payload));
    Some(format!("{what} ({})", list(payloads)))
}

/// What a snapshot covers.
pub(super) fn snapshot(snapshot: &Snapshot) -> String {
    format!(
        "snapshot up to {} ({} bytes, voters {:?})",
        position(snapshot.last_included),
        snapshot.data.len(),
        snapshot.conf_state.voters,
    )
}

/// A position in the log, as term and index.
fn position(id: LogId) -> String {
    if id == LogId::ZERO {
        "0".into()
    } else {
        id.to_string()
    }
}

fn token(token: &Token) -> String {
    match token {
        Token::None => String::new(),
        Token::Number(number) => format!(", token {number}"),
        Token::Bytes(bytes) => format!(", token {}", data(bytes)),
    }
}

fn payload(payload: &Payload) -> String {
    match payload {
        Payload::Data(bytes) => data(bytes),
        Payload::Change(change) if change.is_leave_joint() => "leave joint".into(),
        Payload::Change(change) => {
            let changes = change.changes.iter().map(|change| match change {
                MemberChange::AddVoter(id) => format!("voter {id}"),
                MemberChange::AddLearner(id) => format!("learner {id}"),
                MemberChange::Remove(id) => format!("without {id}"),
                MemberChange::Nothing => "nobody".to_owned(),
            });
            changes.collect::<Vec<_>>().join(" + ")
        }
    }
}

/// A command: as text, if it is one, else its first bytes as a number.
pub(super) fn data(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).ok();
    let text = text.filter(|text| !text.is_empty() && !text.contains(char::is_control));
    match text {
        None if bytes.is_empty() => "empty".into(),
        None => {
            let head = bytes.iter().take(8);
            let number = head.fold(0_u64, |number, &byte| (number << 8) | u64::from(byte));
            let more = if bytes.len() > 8 { "…" } else { "" };
            format!("{number:#x}{more}")
        }
        Some(text) if text.chars().count() <= MAX_COMMAND => format!("\"{text}\""),
        Some(text) => {
            let head: String = text.chars().take(MAX_COMMAND).collect();
            format!("\"{head}…\"")
        }
    }
}

/// The first few, and that there are more.
fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(MAX_COMMANDS);
    let mut shown: Vec<String> = items.take(MAX_COMMANDS).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}
