//! What is done to a node of an interaction script: commands, time, mail.
//!
//! Owns what the embedder of etcd/raft's scripts says to refusals, and in which words. Must not
//! know disks or the other nodes.

use almadia::{
    Body, Bytes, CampaignError, MembershipChange, Message, NodeId, Payload, Proposal, ProposeError,
    RawNode, StepError, Term, TransferError, Transition,
};

use super::{ELECTION_TICKS, Node};
use crate::script::interaction::command::{Change, Span};
use crate::script::interaction::describe;
use crate::script::interaction::mail::Mail;

const DROPPED: &str = "raft proposal dropped";
const NO_PEER: &str = "raft: cannot step as peer not found";

impl Node {
    pub(in crate::script::interaction) fn campaign(&mut self) {
        // A node that may not campaign says so to its log alone.
        let _: Result<(), CampaignError> = self.call(RawNode::campaign);
    }

    pub(in crate::script::interaction) fn tick(&mut self, span: Span) -> Result<(), String> {
        let ticks = match span {
            Span::ElectionTimeout => ELECTION_TICKS,
            Span::HeartbeatInterval => self.raft.config().heartbeat_interval_ticks(),
        };
        for _ in 0..ticks {
            self.call_in(1, RawNode::tick)
                .map_err(|error| error.to_string())?;
            if self.clock.take_due() {
                self.campaign();
            }
        }
        Ok(())
    }

    pub(in crate::script::interaction) fn set_election_timeout(&mut self, ticks: u32) {
        self.clock.set_timeout(ticks);
    }

    pub(in crate::script::interaction) fn forget_leader(&mut self) {
        self.call(RawNode::forget_leader);
    }

    pub(in crate::script::interaction) fn report_unreachable(&mut self, peer: NodeId) {
        // It makes etcd/raft's nodes send nothing, so the node is not asked what it wants now.
        self.raft.report_unreachable(peer);
    }

    pub(in crate::script::interaction) fn transfer_leadership(&mut self, to: NodeId) {
        // Where it cannot begin, nothing happens.
        let _: Result<(), TransferError> = self.call(|raft| raft.transfer_leader(to));
    }

    pub(in crate::script::interaction) fn propose_data(
        &mut self,
        data: String,
    ) -> Result<(), String> {
        self.propose(Proposal {
            payload: Payload::Data(data.into()),
            context: Bytes::new(),
        })
    }

    pub(in crate::script::interaction) fn propose_change(
        &mut self,
        change: &Change,
    ) -> Result<(), String> {
        let is_auto = change.transition == Transition::Auto;
        if change.is_v1 && (change.steps.len() != 1 || !is_auto) {
            let words = "v1 conf change can only have one operation and no transition";
            return Err(words.to_owned());
        }
        let form = describe::form_of(change.is_v1);
        let changes: Vec<_> = change.steps.iter().copied().flatten().collect();
        // What is nothing to Raft is only shown.
        let is_whole = changes.len() == change.steps.len();
        let words = if is_whole {
            Bytes::new()
        } else {
            describe::change_entry(form, &change.words).into()
        };
        let payload = if changes.is_empty() && !is_whole {
            Payload::Data(Bytes::new())
        } else {
            Payload::Change(
                MembershipChange {
                    changes,
                    transition: change.transition,
                    context: Bytes::new(),
                    form,
                }
                .into(),
            )
        };
        self.propose(Proposal {
            payload,
            context: words,
        })
    }

    fn propose(&mut self, proposal: Proposal) -> Result<(), String> {
        let Proposal { payload, context } = proposal.clone();
        let result = self.call(|raft| match payload {
            Payload::Data(data) => raft.propose(context, data),
            Payload::Change(change) => raft.propose_conf_change(context, (*change).clone()),
        });
        let Err(error) = result else { return Ok(()) };
        let from = self.id();
        self.not_proposed(from, vec![proposal], &error)
    }

    /// What etcd/raft's nodes do themselves, and these leave to whoever proposes: a follower passes
    /// a proposal on to its leader, and an empty entry takes the place of a membership change that
    /// is refused.
    fn not_proposed(
        &mut self,
        from: NodeId,
        proposals: Vec<Proposal>,
        error: &ProposeError,
    ) -> Result<(), String> {
        if let ProposeError::NotLeader {
            leader: Some(leader),
        } = error
        {
            self.pass_on(from, *leader, Term::ZERO, Body::Propose(proposals));
            return Ok(());
        }
        let is_replaced = matches!(
            error,
            ProposeError::ChangePending | ProposeError::Membership(_)
        );
        let taken = is_replaced && self.call(|raft| raft.propose("", "")).is_ok();
        if taken {
            Ok(())
        } else {
            Err(DROPPED.to_owned())
        }
    }

    fn pass_on(&mut self, from: NodeId, to: NodeId, term: Term, body: Body) {
        self.output.at_once.push(Message {
            to,
            from,
            term,
            body,
        });
    }

    /// Something has arrived.
    pub(in crate::script::interaction) fn receive(&mut self, mail: Mail) -> Result<(), String> {
        match mail {
            Mail::Message(message) => self.step(message),
            Mail::Own(answer) => self.persisted(answer.number),
            Mail::Appended(appended) => {
                // What a later term has overwritten is not reported by an earlier one.
                if appended.term >= self.raft.current_term() {
                    self.reported(appended.last);
                }
                self.persisted(appended.number)?;
                let restored = appended.snapshot.map(|it| it.last_included.index);
                restored.map_or(Ok(()), |index| self.applied(index))
            }
            Mail::Applied { through, .. } => self.applied(through),
        }
    }

    /// The state, on its way to another node.
    pub(in crate::script::interaction) fn snapshot_for(&self, to: NodeId) -> Mail {
        Mail::Message(Message {
            to,
            from: self.id(),
            term: self.raft.current_term(),
            body: Body::InstallSnapshot(Box::new(self.state.clone())),
        })
    }

    fn step(&mut self, message: Message) -> Result<(), String> {
        let Message { from, ref body, .. } = message;
        let is_wish = matches!(body, Body::Propose(_) | Body::TransferLeader { .. });
        let wish = is_wish.then(|| body.clone());
        match (self.call(|raft| raft.step(message)), wish) {
            (Ok(()), _) => Ok(()),
            (Err(StepError::Propose(error)), Some(Body::Propose(proposals))) => {
                self.not_proposed(from, proposals, &error)
            }
            (Err(StepError::Transfer(error)), Some(wish)) => {
                if let TransferError::NotLeader {
                    leader: Some(leader),
                } = error
                {
                    let term = self.raft.current_term();
                    self.pass_on(from, leader, term, wish);
                }
                Ok(())
            }
            (Err(StepError::NotAMember { .. }), _) => Err(NO_PEER.to_owned()),
            (Err(error), _) => {
                let words = error.to_string();
                self.output.at_once.extend(error.into_reply());
                Err(words)
            }
        }
    }
}
