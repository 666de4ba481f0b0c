//! `cargo xtask lockstep`: whether the comparison with raft-rs finds what its rules must not hide.
//!
//! Owns the list of bugs, at least one beside each rule that lets the two nodes differ, and the copy of
//! the workspace below `target/lockstep-bugs` into which they are put, each behind a switch. Where the
//! code knows on which node it is, it is the compared one alone (id 1) that has the bug.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bugs::Patch;
use crate::hunt::{SWITCH, put_in};
use crate::{program, tree};

/// Within so many cases each bug must be found.
const CASES: u64 = 2000;

/// How many cases are run first; most bugs are found in these.
const FIRST_CASES: u64 = 100;

/// One bug, beside a rule of `docs/deviations.md`.
struct Bug {
    id: &'static str,
    what: &'static str,
    patches: &'static [Patch],
}

macro_rules! bug {
    ($id:literal, $what:literal, [$(($file:literal, $from:literal, $to:literal)),+ $(,)?]) => {
        Bug { id: $id, what: $what, patches: &[$(($file, $from, $to)),+] }
    };
}

/// All of them, in the order of the rules.
#[rustfmt::skip]
const BUGS: &[Bug] = &[
    bug!("L2", "a leader that has lost its quorum keeps others from being elected", [
        ("raft.rs", "(pre_vote || check_quorum) && leader.has_quorum,", "(pre_vote || check_quorum) && (leader.has_quorum || crate::bug(\"L2\") && self.core.id().get() == 1),"),
    ]),
    bug!("L2-never", "a leader with pre-vote alone gives way to any later term", [
        ("raft.rs", "            Role::Leader(leader) => (pre_vote ||", "            Role::Leader(_) if crate::bug(\"L2-never\") && self.core.id().get() == 1 && !check_quorum => false,\n            Role::Leader(leader) => (pre_vote ||"),
    ]),
    bug!("L3", "a candidate of lower priority is refused for good", [
        ("raft/core.rs", "&& self.priority_ticks_left() > 0;", "&& (self.priority_ticks_left() > 0 || crate::bug(\"L3\") && self.id().get() == 1);"),
    ]),
    bug!("L3-short", "priority counts for one election timeout alone", [
        ("raft/core.rs", "        let is_barred = is_outranked", "        let has_waited = crate::bug(\"L3-short\") && self.id().get() == 1 && 3 * self.config.max_election_timeout_ticks - self.priority_ticks_left() >= self.config.election_timeout_ticks;\n        let is_outranked = is_outranked && !has_waited;\n        let is_barred = is_outranked"),
    ]),
    bug!("L14", "every other membership change is said to be pending", [
        ("raft/reconfigure.rs", "        core.membership.changed(change)?;\n        Ok(())", "        if crate::bug(\"L14\") && core.id().get() == 1 && core.log.last_index().0 % 2 == 0 {\n            return Err(ProposeError::ChangePending);\n        }\n        core.membership.changed(change)?;\n        Ok(())"),
    ]),
    bug!("L14-impossible", "a change of two voters at once is said to be impossible", [
        ("raft/reconfigure.rs", "        if self.change_is_pending(core) {\n            return", "        if crate::bug(\"L14-impossible\") && core.id().get() == 1 && change.changes.len() > 1 {\n            core.membership.changed_in_one_step(&change.changes)?;\n        }\n        if self.change_is_pending(core) {\n            return"),
    ]),
    bug!("L15", "the successor is told the commit index that it knows", [
        ("raft/transfer.rs", "it.commit_sent < core.log.commit_index();", "it.commit_sent < core.log.commit_index() || crate::bug(\"L15\") && core.id().get() == 1;"),
    ]),
    bug!("L17", "a transfer fails after a hundred election timeouts", [
        ("raft/transfer.rs", "if transfer.elapsed < core.config.election_timeout_ticks {", "if transfer.elapsed < core.config.election_timeout_ticks * if crate::bug(\"L17\") { 100 } else { 1 } {"),
        ("raft/transfer.rs", "Some(core.config.election_timeout_ticks - transfer.elapsed)", "Some(core.config.election_timeout_ticks.saturating_sub(transfer.elapsed))"),
    ]),
    bug!("L17-early", "a transfer fails after one tick", [
        ("raft/transfer.rs", "        transfer.elapsed += 1;\n", "        transfer.elapsed += if crate::bug(\"L17-early\") { 1000 } else { 1 };\n"),
    ]),
    bug!("L18", "a transfer to a voter of the outgoing half alone is refused", [
        ("raft/transfer.rs", "        if !core.membership.is_voter(transferee) {\n            return Err(TransferError::NotAVoter(transferee));\n        }\n        match self.transfer", "        if !core.membership.is_voter(transferee)\n            || crate::bug(\"L18\") && !core.membership.incoming().contains(&transferee)\n        {\n            return Err(TransferError::NotAVoter(transferee));\n        }\n        match self.transfer"),
    ]),
    bug!("L19", "activity is forgotten twice as often", [
        ("raft/leader.rs", "        if core.election_elapsed >= core.config.election_timeout_ticks {\n", "        if crate::bug(\"L19\") && core.id().get() == 1 && core.election_elapsed == core.config.election_timeout_ticks / 2 {\n            self.check_quorum(core);\n        }\n        if core.election_elapsed >= core.config.election_timeout_ticks {\n"),
    ]),
    bug!("L20", "a new member is sent the log from its beginning", [
        ("raft/reconfigure.rs", "let mut progress = Progress::new(next_index);", "let mut progress = Progress::new(if crate::bug(\"L20\") && new_are_active && core.id().get() == 1 { LogIndex(1) } else { next_index });"),
    ]),
    bug!("L20-twice", "a new member is probed twice", [
        ("raft/replication.rs", "    core.send(peer, || {\n        Body::AppendEntries(AppendEntries {\n            prev_log,\n            leader_commit,\n            entries: entries.clone(),\n        })\n    });\n", "    for _ in 0..=u8::from(crate::bug(\"L20-twice\") && core.id().get() == 1 && progress.match_index.0 == 0 && progress.recently_active && prev_log.index == core.log.last_index()) {\n    core.send(peer, || {\n        Body::AppendEntries(AppendEntries {\n            prev_log,\n            leader_commit,\n            entries: entries.clone(),\n        })\n    });\n    }\n"),
    ]),
    bug!("L24", "a heartbeat's answer gets no append while the window is full", [
        ("raft/leader.rs", "        progress.heartbeat_answered(response.commit_index, core.log.last_index());\n", "        progress.heartbeat_answered(response.commit_index, core.log.last_index());\n        let window = progress.window(&core.config);\n        if let ProgressState::Replicate { inflight, nudge } = &mut progress.state {\n            *nudge &= !(crate::bug(\"L24\") && core.id().get() == 1 && inflight.is_full(window.messages, window.bytes));\n        }\n"),
    ]),
    bug!("L24-twice", "a heartbeat's answer gets two empty appends while the window is full", [
        ("raft/replication.rs", "                        send_entries(core, *peer, progress, prev_log, &Entries::empty());\n                    }\n                    (None", "                        let window = progress.window(&core.config);\n                        let is_nudge = matches!(&progress.state, ProgressState::Replicate { nudge: true, inflight } if inflight.is_full(window.messages, window.bytes));\n                        send_entries(core, *peer, progress, prev_log, &Entries::empty());\n                        if is_nudge && crate::bug(\"L24-twice\") && core.id().get() == 1 {\n                            send_entries(core, *peer, progress, prev_log, &Entries::empty());\n                        }\n                    }\n                    (None"),
    ]),
    bug!("L26", "a leader tells the end of its log as its commit index", [
        ("raft/replication.rs", "    let leader_commit = core.log.commit_index();\n    progress.sent(last", "    let leader_commit = if crate::bug(\"L26\") && core.id().get() == 1 { core.log.last_index() } else { core.log.commit_index() };\n    progress.sent(last"),
    ]),
    bug!("L26-short", "a leader tells one less than its commit index", [
        ("raft/replication.rs", "    progress.commit_sent = progress.commit_sent.max(leader_commit.min(last));\n", "    progress.commit_sent = progress.commit_sent.max(leader_commit.min(last));\n    let leader_commit = if crate::bug(\"L26-short\") && core.id().get() == 1 { leader_commit.previous() } else { leader_commit };\n"),
    ]),
    bug!("L26-each", "each acknowledgement is answered with an empty append", [
        ("raft/leader.rs", "                progress.accepted(match_index, log_reaches);\n", "                progress.accepted(match_index, log_reaches);\n                if let ProgressState::Replicate { nudge, .. } = &mut progress.state {\n                    *nudge |= crate::bug(\"L26-each\") && core.id().get() == 1;\n                }\n"),
    ]),
    bug!("L30", "an explicit joint configuration is left by itself", [
        ("raft/reconfigure.rs", "&& core.membership.auto_leave()", "&& (core.membership.auto_leave() || crate::bug(\"L30\") && core.id().get() == 1)"),
    ]),
    bug!("L30-never", "a joint configuration is not left", [
        ("raft/reconfigure.rs", "        if core.membership.is_joint()\n", "        if core.membership.is_joint()\n            && !(crate::bug(\"L30-never\") && core.id().get() == 1)\n"),
    ]),
    bug!("L31", "a read is answered before the first commit of the term", [
        ("raft/read_index.rs", "core.log.commit_index() >= self.term_start", "core.log.commit_index() >= self.term_start || crate::bug(\"L31\") && core.id().get() == 1"),
    ]),
    bug!("L32", "reads ask the incoming voters alone", [
        ("raft/replication.rs", "            if to_all || core.membership.is_voter(*peer) {", "            if to_all || if crate::bug(\"L32\") && core.id().get() == 1 { core.membership.incoming().contains(peer) } else { core.membership.is_voter(*peer) } {"),
    ]),
    bug!("L33", "a read is answered without a quorum", [
        ("raft/read_index.rs", "        core.membership.has_quorum(|voter| {\n            voter == core.id()\n", "        core.membership.has_quorum(|voter| {\n            crate::bug(\"L33\") && core.id().get() == 1 || voter == core.id()\n"),
    ]),
    bug!("L33-stale", "the answer to the round before confirms a read", [
        ("raft/read_index.rs", "progress.round_answered >= number)", "progress.round_answered >= number - u64::from(crate::bug(\"L33-stale\") && core.id().get() == 1))"),
    ]),
    bug!("L33-incoming", "a read is confirmed by the incoming voters alone", [
        ("raft/read_index.rs", "    fn is_confirmed<S: Storage>(&self, core: &Core<S>, number: u64) -> bool {\n", "    fn is_confirmed<S: Storage>(&self, core: &Core<S>, number: u64) -> bool {\n        if crate::bug(\"L33-incoming\") && core.id().get() == 1 {\n            let incoming = core.membership.incoming();\n            let answered = incoming.iter().filter(|&&voter| {\n                voter == core.id() || self.progress(voter).is_some_and(|it| it.round_answered >= number)\n            });\n            return answered.count() * 2 > incoming.len();\n        }\n"),
    ]),
    bug!("L33-low", "a read is answered with less than the commit index", [
        ("raft/read_index.rs", "            read_index: core.log.commit_index(),\n", "            read_index: if crate::bug(\"L33-low\") && core.id().get() == 1 { core.log.commit_index().previous() } else { core.log.commit_index() },\n"),
    ]),
    bug!("L34", "every forwarded read is sent twice", [
        ("raft/read_index.rs", "            self.send_without_term(leader, || Body::ReadIndex(Token::Number(token)));", "            self.send_without_term(leader, || Body::ReadIndex(Token::Number(token)));\n            if crate::bug(\"L34\") && self.id().get() == 1 {\n                self.send_without_term(leader, || Body::ReadIndex(Token::Number(token)));\n            }"),
    ]),
    bug!("L34-never", "a read is not asked again of a new leader", [
        ("raft/core.rs", "        self.forward_reads(leader);", "        if !(crate::bug(\"L34-never\") && self.id().get() == 1) {\n            self.forward_reads(leader);\n        }"),
    ]),
    bug!("L35", "a member is refused as a stranger", [
        ("raft/door.rs", "if members_only && !core.membership.contains(from) {", "if members_only && (!core.membership.contains(from) || crate::bug(\"L35\") && core.id().get() == 1 && core.log.last_index().0 % 4 == 0) {"),
    ]),
    bug!("L38", "what the storage could not give is not asked for again", [
        ("progress.rs", "self.commit_sent = self.commit_sent.min(commit_index);\n        self.fetching = false;", "self.commit_sent = self.commit_sent.min(commit_index);\n        self.fetching &= crate::bug(\"L38\");"),
        ("progress.rs", "    pub(crate) fn snapshot_requested(&mut self, request_index: LogIndex) {\n        self.fetching = false;", "    pub(crate) fn snapshot_requested(&mut self, request_index: LogIndex) {\n        self.fetching &= crate::bug(\"L38\");"),
    ]),
    bug!("L43", "a member that is added again is sent the log from its beginning", [
        ("raft.rs", "            Role::Leader(leader) => leader.membership_changed(&mut self.core),", "            Role::Leader(leader) => {\n                if crate::bug(\"L43\") && self.core.id().get() == 1 {\n                    for step in &change.changes {\n                        if let crate::membership::MemberChange::Remove(id) = step {\n                            leader.peers.retain(|(peer, _)| peer != id);\n                        }\n                    }\n                }\n                leader.membership_changed(&mut self.core)\n            }"),
    ]),
    bug!("L44", "a read is dropped with the next tick", [
        ("raft/read_index.rs", "let ticks_left = self.config.max_election_timeout_ticks.saturating_mul(2);", "let ticks_left = if crate::bug(\"L44\") && self.id().get() == 1 { 1 } else { self.config.max_election_timeout_ticks.saturating_mul(2) };"),
    ]),
    bug!("L44-never", "a read is dropped after a hundred election timeouts", [
        ("raft/read_index.rs", ".saturating_mul(2) };", ".saturating_mul(if crate::bug(\"L44-never\") && self.id().get() == 1 { 100 } else { 2 }) };"),
    ]),
    bug!("term", "a heartbeat carries an earlier term", [
        ("raft/core.rs", "        let (from, term) = (self.id(), self.current_term);\n", "        let body = body();\n        let is_early = crate::bug(\"term\") && self.id().get() == 1 && matches!(body, Body::Heartbeat(_)) && self.current_term.0 > 1;\n        let body = || body;\n        let (from, term) = (self.id(), Term(self.current_term.0 - u64::from(is_early)));\n"),
    ]),
    bug!("answer-term", "the answer to a read carries an earlier term", [
        ("raft/core.rs", "        push_message(&mut self.next_ready().messages, to, from, term, body);\n    }\n\n    /// Queues a message of a kind", "        let body = body();\n        let is_early = crate::bug(\"answer-term\") && self.id().get() == 1 && term.0 > 1 && matches!(body, Body::ReadIndexResponse(_));\n        let term = Term(term.0 - u64::from(is_early));\n        let body = || body;\n        push_message(&mut self.next_ready().messages, to, from, term, body);\n    }\n\n    /// Queues a message of a kind"),
    ]),
    bug!("answer-to", "the answer to a read leaves without its token", [
        ("raft/read_index.rs", "                let response = ReadIndexResponse { read_index, token };", "                let token = if crate::bug(\"answer-to\") && core.id().get() == 1 { Token::None } else { token };\n                let response = ReadIndexResponse { read_index, token };"),
    ]),
];

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Hunts the bugs whose ids contain this.
pub(crate) fn run(root: &Path, only: &str) -> Outcome<()> {
    let folder = root.join("target/lockstep-bugs");
    let tree = folder.join("tree");
    tree::copy(root, &tree)?;
    let hunted: Vec<&Bug> = BUGS.iter().filter(|bug| bug.id.contains(only)).collect();
    let said = folder.join("said.txt");
    let program = build(&folder, &tree)?;
    // Else every bug would be found.
    if !compare("", CASES, &program, &tree, &said)? {
        return Err(format!(
            "the comparison fails with no bug put in: {}",
            said.display()
        )
        .into());
    }
    println!("| bug | what it does | cases | told |\n|---|---|---|---|");
    let mut found = 0;
    for bug in &hunted {
        let row = hunt(bug, &program, &tree, &said)?;
        found += usize::from(row.is_some());
        let (cases, told) = row.unwrap_or_else(|| ("-".into(), "-".into()));
        println!("| {} | {} | {cases} | {told} |", bug.id, bug.what);
    }
    println!("\n{found} of {} bugs found", hunted.len());
    if hunted.is_empty() {
        return Err(format!("no bug has {only:?} in its id").into());
    }
    if found < hunted.len() {
        return Err("a bug that the comparison does not find is hidden by a rule".into());
    }
    Ok(())
}

/// Puts all bugs into the copy and builds the comparison.
fn build(folder: &Path, tree: &Path) -> Outcome<PathBuf> {
    for bug in BUGS {
        put_in(bug.id, bug.patches, &tree.join("src"))?;
    }
    tree::allow_lints(tree, SWITCH)?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--release", "--no-run", "-p", "almadia-harness"])
        .args(["--test", "lockstep"])
        .env("CARGO_TARGET_DIR", folder.join("build"))
        .env("RUSTFLAGS", "--cap-lints allow")
        .current_dir(tree);
    program::build("lockstep", &mut cargo)
}

/// In how many cases the bug is found, and what is told of it.
fn hunt(bug: &Bug, program: &Path, tree: &Path, said: &Path) -> Outcome<Option<(String, String)>> {
    for cases in [FIRST_CASES, CASES] {
        if !compare(bug.id, cases, program, tree, said)? {
            return Ok(Some(first_difference(&fs::read_to_string(said)?)));
        }
    }
    Ok(None)
}

/// Whether both nodes do the same with this bug put in; with none if it has no name.
fn compare(bug: &str, cases: u64, program: &Path, tree: &Path, said: &Path) -> Outcome<bool> {
    let ended = Command::new(program)
        .args(["--exact", "every_difference_to_raft_rs_is_a_decision"])
        .env("BUG", bug)
        .env("RUST_BACKTRACE", "0")
        .env("ALMADIA_LOCKSTEP_SEEDS", cases.to_string())
        .current_dir(tree.join("harness"))
        .stdout(File::create(said)?)
        .stderr(File::create(said.with_extension("err"))?)
        .status()?;
    Ok(ended.success())
}

/// The number of the first case that differs, and the first line of the difference.
fn first_difference(said: &str) -> (String, String) {
    let mut lines = said
        .lines()
        .skip_while(|line| !line.contains("unexplained differences:"))
        .skip(1);
    let seed = lines.next().unwrap_or_default();
    let number = seed.trim_start_matches("seed ").split([',', ':']).next();
    let cases = number.and_then(|number| number.parse::<u64>().ok());
    let told = if seed.ends_with("panicked") {
        "a node panics".into()
    } else {
        let told = lines.find_map(|line| line.strip_prefix("after step "));
        let told = told.and_then(|line| line.split_once(": "));
        told.map_or("", |(_, told)| told)
            .trim_end_matches(':')
            .chars()
            .take(70)
            .collect()
    };
    (
        cases.map_or_else(|| "?".into(), |seed| (seed + 1).to_string()),
        told,
    )
}
