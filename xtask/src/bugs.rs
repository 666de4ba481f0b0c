//! Bugs that others have had, to be put back into a copy of the core.
//!
//! Owns the list: each with its scenario (`docs/scenarios.md`) and what it does. Which tool finds it is
//! found out by `hunt.rs`. A patch names the text that it takes the place of, so one that does not fit
//! any more is an error and not a bug that nobody can find.

/// In which file, in place of what, what.
pub(crate) type Patch = (&'static str, &'static str, &'static str);

/// One bug. It is on when `crate::bug("<id>")` says so.
pub(crate) struct Bug {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) patches: &'static [Patch],
    /// Which random runs are most likely to find it, if not any.
    pub(crate) profile: Option<&'static str>,
    /// Which presets of the model checker may find it, the most fitting one first.
    pub(crate) presets: &'static [&'static str],
}

/// What a tool does not find, and which tool. (Why stands in `docs/assurance.md`.) A tool that misses
/// more than this has become worse.
pub(crate) const MISSES: &[(&str, &str)] = &[
    ("B25", "runs"),
    ("B30", "runs"),
    ("B45", "model"),
    ("B46", "model"),
];

macro_rules! bug {
    ($id:literal, $what:literal, $profile:expr, [$($preset:literal),*], [$(($file:literal, $from:literal, $to:literal)),+ $(,)?]) => {
        Bug { id: $id, what: $what, patches: &[$(($file, $from, $to)),+], profile: $profile, presets: &[$($preset),*] }
    };
}

/// All of them, in the order of their ids.
#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = &[
    bug!("B01", "the vote is not in the hard state with its term", None, ["elections"], [
        ("raft/output.rs", "ready.hard_state = Some(hard_state);", "ready.hard_state = Some(HardState {\n                voted_for: if crate::bug(\"B01\") { None } else { hard_state.voted_for },\n                ..hard_state\n            });"),
    ]),
    bug!("B02", "a candidate leads before its own vote is durable", None, ["elections"], [
        ("raft/candidate.rs", "VoteResult::Won if core.vote_is_durable() => Next::Lead", "VoteResult::Won if core.vote_is_durable() || crate::bug(\"B02\") => Next::Lead"),
        ("raft.rs", "self.core.vote_is_durable(),\n            \"nobody leads", "self.core.vote_is_durable() || crate::bug(\"B02\"),\n            \"nobody leads"),
    ]),
    bug!("B02-answer", "votes and acknowledgements are sent before they are durable", None, ["elections"], [
        ("raft/core.rs", "let is_durable = self.vote_is_durable() && log_through <= self.durability.log();", "let is_durable = crate::bug(\"B02-answer\") || self.vote_is_durable() && log_through <= self.durability.log();"),
    ]),
    bug!("B02-log", "RequestVote does not wait for the log that it names", Some("crashing"), ["slow-followers"], [
        ("raft/core.rs", "if self.log.last_index() <= self.durability.log() {\n            self.next_ready().messages.extend(messages);", "if crate::bug(\"B02-log\") || self.log.last_index() <= self.durability.log() {\n            self.next_ready().messages.extend(messages);"),
    ]),
    bug!("B05", "a candidate counts votes of an earlier term", None, ["elections"], [
        ("raft.rs", "                Ordering::Less => {", "                Ordering::Less if crate::bug(\"B05\") && matches!(body, Body::RequestVoteResponse(_)) => true,\n                Ordering::Less => {"),
    ]),
    bug!("B06", "a step down within the term forgets the vote", None, ["elections"], [
        ("raft.rs", "if in_new_term {\n            self.core.current_term = term;", "if crate::bug(\"B06\") { self.core.voted_for = None; }\n        if in_new_term {\n            self.core.current_term = term;"),
    ]),
    bug!("B07", "a granted pre-vote counts as a vote", None, ["pre-votes"], [
        ("raft.rs", "Ordering::Equal => !matches!(body, Body::PreVoteResponse(VoteResponse::Granted)),", "Ordering::Equal => crate::bug(\"B07\") || !matches!(body, Body::PreVoteResponse(VoteResponse::Granted)),"),
        ("raft/candidate.rs", "if let Body::RequestVoteResponse(response) = *body {\n            self.tally", "if crate::bug(\"B07\") && *body == Body::PreVoteResponse(VoteResponse::Granted) {\n            self.tally.record(from, true);\n            return Ok(self.outcome(core));\n        }\n        if let Body::RequestVoteResponse(response) = *body {\n            self.tally"),
    ]),
    bug!("B15", "a joint election is won by the incoming voters alone", Some("joint-changes"), ["membership"], [
        ("quorum.rs", "    match (\n        majority_vote(incoming, &vote),\n        majority_vote(outgoing, &vote),", "    if crate::bug(\"B15\") { return majority_vote(incoming, &vote); }\n    match (\n        majority_vote(incoming, &vote),\n        majority_vote(outgoing, &vote),"),
    ]),
    bug!("B16", "a node campaigns with a committed change that it has not applied", Some("joint-changes"), ["membership-later"], [
        ("raft.rs", "if self.core.log.has_unapplied_change().map_err(halted)? {", "if !crate::bug(\"B16\") && self.core.log.has_unapplied_change().map_err(halted)? {"),
    ]),
    bug!("B20", "TimeoutNow does not end the lease", Some("leases-transfers"), ["leases"], [
        ("raft/read_index.rs", "        self.transfer.is_none() && self.has_committed_in_term(core)", "        (self.transfer.is_none() || crate::bug(\"B20\")) && self.has_committed_in_term(core)"),
        ("raft/transfer.rs", "        core.tell(&Event::HandedOver { successor });\n        Ok(Next::StepDown)", "        core.tell(&Event::HandedOver { successor });\n        Ok(if crate::bug(\"B20\") { Next::Stay } else { Next::StepDown })"),
    ]),
    bug!("B23", "an entry of an earlier term commits by counting", None, ["figure-8"], [
        ("raft/leader.rs", "if index < self.term_start {\n            return;", "if index < self.term_start && !crate::bug(\"B23\") {\n            return;"),
    ]),
    bug!("B24", "the commit index does not pass entries of earlier terms", None, ["replication", "figure-8"], [
        ("raft/leader.rs", "        core.log.commit_to(index);\n        self.uncommitted", "        if crate::bug(\"B24\") && core.log.commit_index().next() < self.term_start {\n            return;\n        }\n        core.log.commit_to(index);\n        self.uncommitted"),
    ]),
    bug!("B25", "a follower commits up to the end of its log, and not to the last new entry", None, ["lost-overwrites"], [
        ("raft/core.rs", "self.log.commit_to(leader_commit.min(last_new.index));", "self.log.commit_to(leader_commit.min(if crate::bug(\"B25\") { self.log.last_index() } else { last_new.index }));"),
    ]),
    bug!("B26", "an append cuts the log off though nothing conflicts", None, ["replication"], [
        ("log.rs", "        for entry in &*entries {\n            if !self.holds(entry.id)? {", "        for entry in &*entries {\n            if crate::bug(\"B26\") || !self.holds(entry.id)? {"),
    ]),
    bug!("B28", "matchIndex falls with a late acknowledgement", None, ["replication"], [
        ("progress.rs", "self.match_index = self.match_index.max(index);", "self.match_index = if crate::bug(\"B28\") { index } else { self.match_index.max(index) };"),
    ]),
    bug!("B29", "a rejection advances matchIndex", None, ["heartbeats"], [
        ("progress.rs", "pub(crate) fn rejected(&mut self, prev_index: LogIndex, agree_at_most: LogIndex) {\n", "pub(crate) fn rejected(&mut self, prev_index: LogIndex, agree_at_most: LogIndex) {\n        if crate::bug(\"B29\") { self.match_index = self.match_index.max(prev_index); }\n"),
    ]),
    bug!("B30", "an acknowledgement claims the whole log, and not what the append has verified", None, ["lost-overwrites"], [
        ("raft/core.rs", "        self.accept(leader, last_new.index);\n", "        self.accept(leader, if crate::bug(\"B30\") { self.log.last_index() } else { last_new.index });\n"),
    ]),
    bug!("B32", "the index of a quorum is that of one voter too few", None, ["replication"], [
        ("quorum.rs", "        [first, second, third] => {\n", "        [first, second, third] if !crate::bug(\"B32\") => {\n"),
        ("quorum.rs", "let needed = majority(indexes.len());", "let needed = majority(indexes.len()) - usize::from(crate::bug(\"B32\") && indexes.len() > 2);"),
    ]),
    bug!("B33", "a heartbeat tells a commit index beyond what the peer is known to hold", None, ["heartbeats"], [
        ("raft/replication.rs", "let leader_commit = core.log.commit_index().min(progress.match_index);", "let leader_commit = if crate::bug(\"B33\") { core.log.commit_index() } else { core.log.commit_index().min(progress.match_index) };"),
    ]),
    bug!("B39", "a write counts for entries that were overwritten meanwhile", None, ["overwrites"], [
        ("raft/durability.rs", "        for write in &mut self.writes {\n            write.log_through", "        if crate::bug(\"B39\") { return; }\n        for write in &mut self.writes {\n            write.log_through"),
    ]),
    bug!("B41", "a leader counts itself for what is not on its disk", None, ["replication"], [
        ("raft/leader.rs", "if member == core.id() {\n            core.durability.log()", "if member == core.id() {\n            if crate::bug(\"B41\") { core.log.last_index() } else { core.durability.log() }"),
    ]),
    bug!("B43", "entries are applied before they are persisted", Some("unpersisted-apply"), ["unpersisted", "replication"], [
        ("raft/output.rs", "self.durability.log() + self.config.max_apply_unpersisted_entries", "if crate::bug(\"B43\") { self.log.last_index() } else { self.durability.log() + self.config.max_apply_unpersisted_entries }"),
    ]),
    bug!("B45", "a snapshot takes back what is committed", Some("compacting"), [], [
        ("raft/core.rs", "} else if last.index <= commit {\n            self.accept(leader, commit);", "} else if last.index <= commit && !crate::bug(\"B45\") {\n            self.accept(leader, commit);"),
    ]),
    bug!("B46", "a snapshot takes away a log that holds its last entry", Some("compacting"), [], [
        ("raft/core.rs", "} else if self.log.holds(last)? {\n            // The log has it all", "} else if !crate::bug(\"B46\") && self.log.holds(last)? {\n            // The log has it all"),
    ]),
    bug!("B57", "a second change is proposed before the first is applied", Some("joint-changes"), ["membership"], [
        ("raft/reconfigure.rs", "self.pending_change > core.log.last_applied()", "!crate::bug(\"B57\") && self.pending_change > core.log.last_applied()"),
    ]),
    bug!("B58", "nobody leaves a joint configuration that was entered by another leader", Some("joint-changes"), ["membership"], [
        ("raft/reconfigure.rs", "        if core.membership.is_joint()\n", "        let inherits = self.pending_change < self.term_start;\n        if !(crate::bug(\"B58\") && inherits) && core.membership.is_joint()\n"),
    ]),
    bug!("B66", "a read is answered before the first commit of the term", Some("reads"), ["reads"], [
        ("raft/read_index.rs", "core.log.commit_index() >= self.term_start", "crate::bug(\"B66\") || core.log.commit_index() >= self.term_start"),
    ]),
    bug!("B67", "a read is answered without a quorum", Some("reads"), ["two-reads"], [
        ("raft/read_index.rs", "core.membership.has_quorum(|voter| {\n            voter == core.id()\n", "core.membership.has_quorum(|voter| {\n            crate::bug(\"B67\") || voter == core.id()\n"),
    ]),
    bug!("B68", "a lease lasts from the answer, and not from the sending", Some("leases-slow"), ["leases"], [
        ("raft/read_index.rs", "lease.acknowledged = Some(sent);", "lease.acknowledged = Some(if crate::bug(\"B68\") { lease.now(core) } else { sent });"),
    ]),
    bug!("B68-margin", "a lease has no margin", Some("leases"), ["leases"], [
        ("raft/read_index.rs", "let duration = election_timeout_ticks.saturating_sub(lease_margin_ticks);", "let duration = if crate::bug(\"B68-margin\") { election_timeout_ticks } else { election_timeout_ticks.saturating_sub(lease_margin_ticks) };"),
    ]),
    bug!("B69", "an answer to a read of an earlier life is taken for one of this", Some("reads"), ["reads-restarts"], [
        ("raft/read_index.rs", "incarnation: incarnation.unwrap_or(0),", "incarnation: if crate::bug(\"B69\") { 0 } else { incarnation.unwrap_or(0) },"),
    ]),
    bug!("AE2", "an append is taken without a look at the entry before it", None, ["figure-8", "heartbeats"], [
        ("raft/core.rs", "        if !self.log.holds(prev)? {", "        if !crate::bug(\"AE2\") && !self.log.holds(prev)? {"),
    ]),
    bug!("E12", "what is applied counts as committed, though the log holds something else", Some("unpersisted-apply"), ["unpersisted"], [
        ("log.rs", "            if found == applied {\n", "            if found == applied || crate::bug(\"E12\") {\n"),
    ]),
    bug!("E72", "a restarted node votes within the lease that it may have promised", Some("leases-crashes"), ["leases-restarts"], [
        ("raft/core.rs", "        core.heard_from_leader();\n", "        if !crate::bug(\"E72\") { core.heard_from_leader(); }\n"),
    ]),
];
