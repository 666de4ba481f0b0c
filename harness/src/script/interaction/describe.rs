//! The words in which interaction scripts show states, entries and messages.
//!
//! Owns the formats, and the two normalisations that lie in them: terms are shown as etcd/raft's
//! nodes would count them, and a message shows what etcd/raft's would carry. Decides nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use almadia::{
    ChangeForm, ConfState, Config, Entry, HardState, LogId, LogIndex, MemberChange,
    MembershipChange, NodeId, Payload, Progress, ProgressState, RawNode, ReadState, RoleKind,
    Snapshot, Storage, Term,
};

/// The current term of a node. One that begins with a log must have seen its last term here, so
/// it begins in term 1, where etcd/raft's begins in term 0: everything later is one higher too.
pub(super) const fn current_term(term: Term) -> u64 {
    term.0.saturating_sub(1)
}

/// The term of an entry. Those that nodes begin with are of term 1, as in etcd/raft.
pub(super) const fn log_term(term: Term) -> u64 {
    if term.0 <= 1 { term.0 } else { term.0 - 1 }
}

fn log_id(id: LogId) -> String {
    format!("{}/{}", log_term(id.term), id.index)
}

fn id_or_zero(node: Option<NodeId>) -> u64 {
    node.map_or(0, NodeId::get)
}

pub(super) const fn role(role: RoleKind) -> &'static str {
    match role {
        RoleKind::Follower => "StateFollower",
        RoleKind::PreCandidate => "StatePreCandidate",
        RoleKind::Candidate => "StateCandidate",
        RoleKind::Leader => "StateLeader",
    }
}

pub(super) fn soft_state(leader: Option<NodeId>, kind: RoleKind) -> String {
    format!("Lead:{} State:{}", id_or_zero(leader), role(kind))
}

pub(super) fn hard_state(state: &HardState) -> String {
    let term = current_term(state.current_term);
    let vote = state
        .voted_for
        .map_or_else(String::new, |node| format!(" Vote:{node}"));
    format!("Term:{term}{vote} Commit:{}", state.commit_index)
}

fn ids(nodes: &[NodeId]) -> String {
    let words: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
    format!("[{}]", words.join(" "))
}

fn conf_state(state: &ConfState) -> String {
    format!(
        "Voters:{} VotersOutgoing:{} Learners:{} LearnersNext:{} AutoLeave:{}",
        ids(&state.voters),
        ids(&state.voters_outgoing),
        ids(&state.learners),
        ids(&state.learners_next),
        state.auto_leave
    )
}

pub(super) fn snapshot(snapshot: &Snapshot) -> String {
    format!(
        "Index:{} Term:{} ConfState:{}",
        snapshot.last_included.index,
        log_term(snapshot.last_included.term),
        conf_state(&snapshot.conf_state)
    )
}

pub(super) fn read_states(states: &[ReadState]) -> String {
    let answered = states.iter().filter_map(|state| {
        let index = state.outcome.ok()?;
        let context: Vec<String> = state.context.iter().map(u8::to_string).collect();
        Some(format!("{{{index} [{}]}}", context.join(" ")))
    });
    format!("[{}]", answered.collect::<Vec<_>>().join(" "))
}

pub(super) fn entries(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(entry).collect()
}

pub(super) fn entry(entry: &Entry) -> String {
    format!("{} {}", log_id(entry.id), content(entry))
}

/// What an entry carries. A change that says more than Raft wants to know has its words in the
/// context.
fn content(entry: &Entry) -> String {
    match (&entry.payload, entry.context.as_ref()) {
        (Payload::Data(data), b"") => format!("EntryNormal {}", quoted(data)),
        (Payload::Change(change), b"") => {
            let words: Vec<String> = change.changes.iter().map(member_change).collect();
            change_entry(change.form, &words.join(" "))
        }
        (Payload::Data(_) | Payload::Change(_), words) => {
            String::from_utf8_lossy(words).into_owned()
        }
    }
}

/// The content of an entry with a membership change of these words.
pub(super) fn change_entry(form: ChangeForm, words: &str) -> String {
    let kind = match form {
        ChangeForm::V1 { .. } => "EntryConfChange",
        ChangeForm::V2 => "EntryConfChangeV2",
    };
    format!("{kind} {words}").trim_end().to_owned()
}

fn member_change(change: &MemberChange) -> String {
    match change {
        MemberChange::AddVoter(node) => format!("v{node}"),
        MemberChange::AddLearner(node) => format!("l{node}"),
        MemberChange::Remove(node) => format!("r{node}"),
        MemberChange::Nothing => "v0".to_owned(),
    }
}

/// Whether such a change may be encoded in the first of the two forms.
pub(super) fn form_of(is_v1: bool) -> ChangeForm {
    if is_v1 {
        ChangeForm::V1 { id: 0 }
    } else {
        MembershipChange::default().form
    }
}

/// Data between quotation marks, as Go's `%q` has it.
fn quoted(data: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in data.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                '\x07' => text.push_str("\\a"),
                '\x08' => text.push_str("\\b"),
                '\x0c' => text.push_str("\\f"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\x0b' => text.push_str("\\v"),
                '\0'..=' ' | '\x7f' if character != ' ' => {
                    let _ = write!(text, "\\x{:02x}", u32::from(character));
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

/// Who sends or receives a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Node(NodeId),
    AppendThread,
    ApplyThread,
}

fn party(party: Party) -> String {
    match party {
        Party::Node(node) => format!("{:x}", node.get()),
        Party::AppendThread => "AppendThread".to_owned(),
        Party::ApplyThread => "ApplyThread".to_owned(),
    }
}

/// What etcd/raft's message would carry, as far as it is shown.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) from: Party,
    pub(super) to: Party,
    pub(super) kind: &'static str,
    /// As it is to be shown.
    pub(super) term: u64,
    pub(super) log: LogId,
    /// The hint of a rejection.
    pub(super) rejected: Option<LogIndex>,
    pub(super) commit: LogIndex,
    pub(super) vote: Option<NodeId>,
    pub(super) entries: Vec<String>,
    pub(super) snapshot: Option<String>,
    pub(super) responses: Vec<Letter>,
}

impl Letter {
    /// A message that carries nothing.
    pub(super) const fn new(from: Party, to: Party, kind: &'static str, term: u64) -> Self {
        Self {
            from,
            to,
            kind,
            term,
            log: LogId::ZERO,
            rejected: None,
            commit: LogIndex::ZERO,
            vote: None,
            entries: Vec::new(),
            snapshot: None,
            responses: Vec::new(),
        }
    }

    pub(super) fn describe(&self, indent: &str) -> String {
        let mut text = format!(
            "{indent}{}->{} {} Term:{} Log:{}",
            party(self.from),
            party(self.to),
            self.kind,
            self.term,
            log_id(self.log)
        );
        if let Some(hint) = self.rejected {
            let _ = write!(text, " Rejected (Hint: {hint})");
        }
        if self.commit > LogIndex::ZERO {
            let _ = write!(text, " Commit:{}", self.commit);
        }
        if let Some(vote) = self.vote {
            let _ = write!(text, " Vote:{vote}");
        }
        match self.entries.as_slice() {
            [] => {}
            [only] => {
                let _ = write!(text, " Entries:[{only}]");
            }
            several => {
                text.push_str(" Entries:[");
                for one in several {
                    let _ = write!(text, "\n{indent}  {one}");
                }
                let _ = write!(text, "\n{indent}]");
            }
        }
        if let Some(snapshot) = &self.snapshot {
            let _ = write!(text, "\n{indent}  Snapshot: {snapshot}");
        }
        if !self.responses.is_empty() {
            text.push_str(" Responses:[");
            for response in &self.responses {
                let _ = write!(text, "\n{}", response.describe(&format!("{indent}  ")));
            }
            let _ = write!(text, "\n{indent}]");
        }
        text
    }
}

/// What the leader knows of its peers, and of itself; nothing if the node does not lead.
pub(super) fn progress<S: Storage>(raft: &RawNode<S>) -> String {
    let status = raft.status();
    let mut lines = BTreeMap::new();
    if status.role == RoleKind::Leader {
        // A leader is in step with itself.
        let persisted = status.persisted_index;
        let known = format!("StateReplicate match={persisted} next={}", persisted.next());
        lines.insert(status.id, (known, String::new()));
    }
    for (peer, progress) in &status.progress {
        let (state, limits) = flow(progress, raft.config());
        let (matched, next) = (progress.match_index(), progress.next_index());
        lines.insert(
            *peer,
            (format!("{state} match={matched} next={next}"), limits),
        );
    }
    let membership = &status.membership;
    lines.retain(|&node, _| membership.contains(node));
    let lines = lines.iter().map(|(node, (known, limits))| {
        let is_learner = membership.learners().contains(node);
        let learner = if is_learner { " learner" } else { "" };
        format!("{node}: {known}{learner}{limits}\n")
    });
    lines.collect()
}

/// The state of flow control, and what limits it.
fn flow(progress: &Progress, config: &Config) -> (&'static str, String) {
    let window = progress.window(config);
    let inactive = if progress.recently_active() {
        ""
    } else {
        " inactive"
    };
    match progress.state() {
        ProgressState::Probe { awaiting } => {
            let paused = if *awaiting { " paused" } else { "" };
            ("StateProbe", format!("{paused}{inactive}"))
        }
        ProgressState::Replicate { inflight, .. } => {
            let is_full = inflight.is_full(window.messages, window.bytes);
            let (paused, full) = if is_full {
                (" paused", "[full]")
            } else {
                ("", "")
            };
            let inflight = match inflight.messages() {
                0 => String::new(),
                messages => format!(" inflight={messages}{full}"),
            };
            ("StateReplicate", format!("{paused}{inactive}{inflight}"))
        }
        ProgressState::Snapshot { pending, .. } => {
            let limits = format!(" paused pendingSnap={pending}{inactive}");
            ("StateSnapshot", limits)
        }
    }
}
