//! Every difference that is a decision, with its reason: the one table of the comparison.
//!
//! Owns the names and the counts. When a rule applies is decided where the two nodes are compared,
//! as narrowly as possible; a rule that never applies fails the test. `docs/deviations.md` explains
//! each under the same id.

use std::fmt;
use std::ops::AddAssign;

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $id:literal: $reason:literal,)*) => {
        /// A difference that is a decision.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Rule { $($rule,)* }

        /// All rules, with their ids in `docs/deviations.md` and their reasons.
        pub(crate) const RULES: &[(Rule, &str, &str)] = &[
            $((Rule::$rule, $id, $reason),)*
        ];
    };
}

rules! {
    NotForwarded = "L1":
        "who does not lead refuses a wish and names the leader; raft-rs forwards it",
    StandsByLeader = "L2":
        "with pre-vote alone, too, nobody votes against a leader it has heard from",
    Priority = "L3":
        "priority decides between equal logs, for a while, and not against the leader's choice",
    CommitLearnt = "L4":
        "the commit index in members' votes and refusals is learnt before they are answered",
    OutdatedAnswered = "L5":
        "every request of an earlier term is answered, with the commit index",
    GrantOfAnotherTerm = "L6":
        "a pre-vote counts for the term that it was asked for, and no other",
    LeaderForgotten = "L7":
        "a member without a vote forgets a leader that it has not heard from",
    CampaignClock = "L8":
        "a campaign that is asked for begins the wait for the next one",
    TermKeepsClock = "L9":
        "a later term alone does not begin the wait for an election anew",
    BeginsBehindCommit = "L10":
        "an append that begins before the commit index is used from there on",
    SnapshotAckTellsCommit = "L11":
        "the acknowledgement of a snapshot tells the commit index",
    PreCandidateTakesOver = "L12":
        "TimeoutNow ends the asking for pre-votes",
    TimeoutNowHeard = "L13":
        "whoever may not campaign has heard a leader in TimeoutNow all the same",
    ChangeRefused = "L14":
        "a refused change is an error to the caller; raft-rs proposes an empty entry",
    SuccessorTold = "L15":
        "the successor is told the commit index before TimeoutNow",
    StepsDownForTransfer = "L16":
        "the leader steps down when TimeoutNow leaves",
    TransferClock = "L17":
        "a transfer has a clock of its own; raft-rs's restarts the quorum check",
    TransferRefused = "L18":
        "a transfer that cannot succeed is refused, and ends no other",
    ActivityForgotten = "L19":
        "activity is counted anew each election timeout, also without quorum checks",
    FirstProbe = "L20":
        "the first probe to a new member asks for the last entry of the log",
    EmptyProbeWaits = "L21":
        "a probe without entries waits for its answer like any other",
    ProbeAnswered = "L22":
        "the answer to a probe ends the probing, also if it raises nothing",
    SnapshotAnswered = "L23":
        "an acknowledgement from which the log goes on ends the sending of a snapshot",
    WindowKept = "L24":
        "a full window is never exceeded; an answered heartbeat gets an empty append",
    SaysNothingNew = "L25":
        "an append without entries that tells nothing new is not sent",
    CommitRepeated = "L26":
        "the commit index is told until the peer has told it back",
    AtOnce = "L27":
        "what may be sent is sent at once; raft-rs waits for an occasion",
    MatchDenied = "L28":
        "a peer that denies the entry it has acknowledged is probed",
    CommitNotBroadcast = "L29":
        "skip_commit_broadcast holds for membership changes too",
    JointLeft = "L30":
        "the leader leaves a joint configuration after every apply, and tells at once",
    ReadQueued = "L31":
        "a read before the term's first commit waits; raft-rs drops it",
    ReadHeartbeats = "L32":
        "reads ask the voters alone, and those that wait share one round",
    ReadConfirmed = "L33":
        "the answer to a later heartbeat confirms earlier reads",
    ReadAskedAgain = "L34":
        "a read is asked again of a new leader",
    FromStranger = "L35":
        "what only a member may say is refused from anybody else",
    UselessSnapshot = "L36":
        "a snapshot from before a peer was a member is not sent to it",
    CommitsForgotten = "L37":
        "a new leader knows no commit index that a peer told it in an earlier term",
    TriedAgain = "L38":
        "what the storage could not give is asked for again when the peer answers a heartbeat",
    HintBeforeLog = "L39":
        "a hint from before the beginning of the log says nothing about where it is",
    LeaderAnswers = "L40":
        "a read is answered by the leader that this node knows, and nobody else",
    WishOfAnyTerm = "L41":
        "a transfer is for whoever leads, whatever term it was asked for in",
    ReadMarks = "L42":
        "reads are told apart though their marks are the same",
    AddedAgain = "L43":
        "a member that one change removes and adds again is still the same member",
    ReadDropped = "L44":
        "a read that has waited for too long is dropped, and its caller told",
    RemovedLeader = "L45":
        "a leader without a vote hands over; raft-rs leads on, and may panic",
    CampaignRefused = "L46":
        "a member without a vote does not campaign; raft-rs's learner does",
}

/// How often each rule applied.
#[derive(Clone, Debug)]
pub(crate) struct Counts([u64; RULES.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; RULES.len()])
    }
}

impl Counts {
    pub(crate) fn apply(&mut self, rule: Rule) {
        self.0[rule as usize] += 1;
    }

    pub(crate) fn of(&self, rule: Rule) -> u64 {
        self.0[rule as usize]
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        for (here, there) in self.0.iter_mut().zip(&other.0) {
            *here += there;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, id, reason) in RULES {
            writeln!(f, "{:>9}  {id:<4} {rule:?}: {reason}", self.of(*rule))?;
        }
        Ok(())
    }
}
