//! The words in which scenarios are told: those of the Raft paper.
//!
//! Owns what is to be seen of a node and of a message, and how it is said. Must not know when it is
//! shown.

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Entry, HeartbeatResponse, LogId, LogIndex,
    MemberChange, Membership, Message, NodeId, Payload, ReadState, RequestVote, RoleKind, Storage,
    Term, Token, TransferOutcome, VoteResponse,
};

use crate::cluster::Cluster;

/// What is to be seen of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    node: NodeId,
    is_up: bool,
    role: RoleKind,
    term: Term,
    leader: Option<NodeId>,
    voted_for: Option<NodeId>,
    /// The entry before the first of the log on the disk.
    before_log: LogIndex,
    last_log: LogId,
    commit_index: LogIndex,
    applied: LogIndex,
    membership: Membership,
    /// Writes that are not durable yet.
    writes: usize,
}

impl View {
    pub(super) fn of(cluster: &Cluster, at: usize) -> Self {
        let host = &cluster.hosts[at];
        let first = host.disk.durable.first_index().unwrap_or_default();
        let mut view = Self {
            node: host.id,
            is_up: host.node.is_some(),
            role: RoleKind::Follower,
            term: Term::ZERO,
            leader: None,
            voted_for: None,
            before_log: first.previous(),
            last_log: LogId::ZERO,
            commit_index: LogIndex::ZERO,
            applied: host.machine.applied_index(),
            membership: Membership::default(),
            writes: host.disk.pending.len(),
        };
        if let Some(node) = &host.node {
            let status = node.look();
            view.role = status.role;
            view.term = status.current_term;
            view.leader = status.leader;
            view.voted_for = status.voted_for;
            view.last_log = status.last_log;
            view.commit_index = status.commit_index;
            view.membership = node.membership().clone();
        }
        view
    }

    /// All of it in one line.
    pub(super) fn status(&self) -> String {
        if !self.is_up {
            return format!("{} is down\n", self.node);
        }
        let vote = match self.voted_for {
            Some(node) if node == self.node => "has voted for itself".to_owned(),
            Some(node) => format!("has voted for {node}"),
            None => "has not voted".to_owned(),
        };
        format!(
            "{}, {vote}; log to {}, committed to {}, applied to {}; {}\n",
            self.part(),
            self.last_log,
            self.commit_index,
            self.applied,
            members(&self.membership)
        )
    }

    /// The role that the node plays.
    fn part(&self) -> String {
        let Self { node, term, .. } = self;
        match (self.role, self.leader) {
            (RoleKind::Follower, Some(leader)) => format!("{node} follows {leader} in term {term}"),
            (RoleKind::Follower, None) => format!("{node} follows nobody in term {term}"),
            (RoleKind::PreCandidate, _) => format!("{node} asks for pre-votes in term {term}"),
            (RoleKind::Candidate, _) => format!("{node} stands for election in term {term}"),
            (RoleKind::Leader, _) => format!("{node} leads term {term}"),
        }
    }

    /// What is new, a line for each thing.
    pub(super) fn changes_since(&self, before: &Self) -> String {
        let node = self.node;
        if !self.is_up {
            let is_news = before.is_up;
            return if is_news {
                format!("{node} is down\n")
            } else {
                String::new()
            };
        }
        if !before.is_up {
            return format!("{node} is up: {}", self.status());
        }
        let mut lines = Vec::new();
        let part = |view: &Self| (view.role, view.term, view.leader);
        if part(self) != part(before) {
            lines.push(self.part());
        }
        let vote = self.voted_for.filter(|&voted_for| voted_for != node);
        if let Some(voted_for) = vote.filter(|_| self.voted_for != before.voted_for) {
            lines.push(format!("{node} votes for {voted_for}"));
        }
        if self.before_log != before.before_log {
            lines.push(format!(
                "the log of {node} begins behind {}",
                self.before_log
            ));
        }
        if self.last_log != before.last_log {
            lines.push(format!("the log of {node} ends at {}", self.last_log));
        }
        if self.commit_index != before.commit_index {
            lines.push(format!("{node} has committed to {}", self.commit_index));
        }
        if self.membership != before.membership {
            lines.push(format!("{node} knows {}", members(&self.membership)));
        }
        if self.writes != before.writes {
            lines.push(match self.writes {
                0 => format!("the disk of {node} has done its writes"),
                1 => format!("the disk of {node} has a write to do"),
                writes => format!("the disk of {node} has {writes} writes to do"),
            });
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

fn members(membership: &Membership) -> String {
    let list = |name: &str, nodes: &[NodeId]| {
        let ids: String = nodes.iter().map(|node| format!(" {node}")).collect();
        if nodes.is_empty() {
            ids
        } else {
            format!("{name}{ids}")
        }
    };
    let learners = [membership.learners(), membership.learners_next()].concat();
    let parts = [
        list("voters", membership.incoming()),
        list("and of old", membership.outgoing()),
        list("learners", &learners),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "no members".to_owned();
    }
    parts.join(", ")
}

/// Where a proposal has its place, if it was taken.
pub(super) fn place(place: Option<LogId>) -> String {
    match place {
        Some(id) => format!("proposed as {id}\n"),
        None => "not taken\n".to_owned(),
    }
}

pub(super) fn read(node: NodeId, read: &ReadState) -> String {
    let context = String::from_utf8_lossy(&read.context);
    match read.outcome {
        Ok(index) => format!("{node} may read {context} when it has applied {index}\n"),
        Err(reason) => format!("{node} may not read {context}: {reason}\n"),
    }
}

pub(super) fn transfer(outcome: &TransferOutcome) -> String {
    let transferee = outcome.transferee;
    match outcome.result {
        Ok(()) => format!("the transfer to {transferee} is done\n"),
        Err(reason) => format!("the transfer to {transferee} has failed: {reason}\n"),
    }
}

/// A message in one line.
pub(super) fn message(message: &Message) -> String {
    let Message {
        to,
        from,
        term,
        body,
    } = message;
    let kind = body.kind();
    let in_term = if *term == Term::ZERO {
        String::new()
    } else {
        format!(" in term {term}")
    };
    let content = content(body);
    let colon = if content.is_empty() { "" } else { ": " };
    format!("{from} -> {to} {kind}{in_term}{colon}{content}")
}

fn content(body: &Body) -> String {
    match body {
        Body::RequestVote(request) | Body::PreVote(request) => requested(request),
        Body::RequestVoteResponse(response) | Body::PreVoteResponse(response) => match response {
            VoteResponse::Granted => "granted".to_owned(),
            VoteResponse::Refused { commit } => format!("refused, committed to {commit}"),
        },
        Body::AppendEntries(append) => appended(append),
        Body::AppendEntriesResponse(response) => answered(response),
        Body::Heartbeat(heartbeat) => {
            let round = round(&heartbeat.token);
            format!("committed to {}{round}", heartbeat.leader_commit)
        }
        Body::HeartbeatResponse(HeartbeatResponse {
            commit_index,
            token,
        }) => format!("committed to {commit_index}{}", round(token)),
        Body::InstallSnapshot(snapshot) => format!("to {}", snapshot.last_included),
        Body::TimeoutNow | Body::ReadIndex(_) => String::new(),
        Body::Propose(proposals) => format!("{} proposals", proposals.len()),
        Body::ReadIndexResponse(response) => format!("at {}", response.read_index),
        Body::TransferLeader { transferee } => format!("to {transferee}"),
    }
}

fn requested(request: &RequestVote) -> String {
    let transfer = if request.leadership_transfer {
        ", as the leader wants"
    } else {
        ""
    };
    let RequestVote {
        last_log, commit, ..
    } = request;
    format!("log to {last_log}, committed to {commit}{transfer}")
}

fn appended(append: &AppendEntries) -> String {
    let entries: Vec<String> = append.entries.iter().map(entry).collect();
    let entries = if entries.is_empty() {
        "nothing".to_owned()
    } else {
        entries.join(", ")
    };
    let AppendEntries {
        prev_log,
        leader_commit,
        ..
    } = append;
    format!("{entries} behind {prev_log}, committed to {leader_commit}")
}

fn answered(response: &AppendEntriesResponse) -> String {
    match response {
        AppendEntriesResponse::Accepted {
            match_index,
            commit_index,
        } => format!("accepted to {match_index}, committed to {commit_index}"),
        AppendEntriesResponse::Rejected {
            prev_index, hint, ..
        } => format!("rejected at {prev_index}, equal to {hint} at best"),
        AppendEntriesResponse::SnapshotRequested { request_index, .. } => {
            format!("wants a snapshot to {request_index}")
        }
        AppendEntriesResponse::TermOutdated => "the term is over".to_owned(),
    }
}

fn round(token: &Token) -> String {
    match token {
        Token::None | Token::Bytes(_) => String::new(),
        Token::Number(round) => format!(", round {round}"),
    }
}

fn entry(entry: &Entry) -> String {
    let id = entry.id;
    match &entry.payload {
        Payload::Data(data) if data.is_empty() => format!("{id}"),
        Payload::Data(data) => format!("{id} {}", String::from_utf8_lossy(data)),
        Payload::Change(change) if change.is_leave_joint() => format!("{id} (leave joint)"),
        Payload::Change(change) => {
            let steps: Vec<String> = change.changes.iter().map(step).collect();
            format!("{id} ({})", steps.join(", "))
        }
    }
}

fn step(change: &MemberChange) -> String {
    match change {
        MemberChange::AddVoter(node) => format!("add {node}"),
        MemberChange::AddLearner(node) => format!("learn {node}"),
        MemberChange::Remove(node) => format!("remove {node}"),
        MemberChange::Nothing => "nothing".to_owned(),
    }
}
