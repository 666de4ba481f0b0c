//! How a cluster begins.
//!
//! Owns the steps of an [`Opening`]. Must not know what is explored afterwards.

use almadia::{Body, Message, NodeId};

use super::cluster::{Action, Cluster, Situation};
use super::machine::Input;
use super::preset::{DiskKind, Opening};
use crate::violation::ViolationKind;

impl Cluster<'_> {
    /// Starts all machines, and makes what the preset begins with. Every step is told to `tell`.
    pub(super) fn open(
        &mut self,
        tell: &mut impl FnMut(String),
    ) -> Result<Situation, ViolationKind> {
        let preset = self.preset;
        let mut situation = self.nothing();
        for at in 0..preset.machines.len() {
            self.enact(&mut situation, at, Input::Start, tell)?;
        }
        for step in &preset.opening {
            match step {
                Opening::Campaign(id) => {
                    let at = self.position(*id);
                    self.enact(&mut situation, at, Input::Campaign, tell)?;
                }
                Opening::Tick(id, ticks) => {
                    let at = self.position(*id);
                    for _ in 0..*ticks {
                        self.enact(&mut situation, at, Input::Tick, tell)?;
                    }
                }
                Opening::Elect(id) => self.elect(&mut situation, *id, tell)?,
                Opening::Propose(id, number) => {
                    let at = self.position(*id);
                    self.enact(&mut situation, at, Input::Propose(*number), tell)?;
                }
                Opening::Settle(ids) => {
                    while let Some((at, input)) = self.next_among(&situation, ids, |_| true) {
                        self.enact(&mut situation, at, input, tell)?;
                    }
                }
                Opening::Deliver { from, to } => {
                    let at = self.position(*to);
                    while let Some(letter) = self.next_from(&situation, *from, *to) {
                        self.enact(&mut situation, at, Input::Receive(letter), tell)?;
                    }
                }
                Opening::LoseMessages => situation.flight.clear(),
            }
        }
        situation.touched = 0;
        situation.ticks = Default::default();
        Ok(situation)
    }

    fn elect(
        &mut self,
        situation: &mut Situation,
        id: NodeId,
        tell: &mut impl FnMut(String),
    ) -> Result<(), ViolationKind> {
        let ids: Vec<NodeId> = self.preset.machines.iter().map(|&(id, _)| id).collect();
        let at = self.position(id);
        self.enact(situation, at, Input::Campaign, tell)?;
        let is_about_votes = |message: &Message| match &message.body {
            Body::RequestVote(_)
            | Body::RequestVoteResponse(_)
            | Body::PreVote(_)
            | Body::PreVoteResponse(_) => true,
            Body::AppendEntries(_)
            | Body::AppendEntriesResponse(_)
            | Body::Heartbeat(_)
            | Body::HeartbeatResponse(_)
            | Body::InstallSnapshot(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexResponse(_)
            | Body::TransferLeader { .. } => false,
        };
        while !self.machine(situation, at).leads() {
            let Some((at, input)) = self.next_among(situation, &ids, is_about_votes) else {
                break;
            };
            self.enact(situation, at, input, tell)?;
        }
        Ok(())
    }

    fn position(&self, id: NodeId) -> usize {
        let mut machines = self.preset.machines.iter();
        machines.position(|&(it, _)| it == id).unwrap_or(0)
    }

    fn enact(
        &mut self,
        situation: &mut Situation,
        at: usize,
        input: Input,
        tell: &mut impl FnMut(String),
    ) -> Result<(), ViolationKind> {
        let action = Action {
            at,
            input,
            spends: None,
        };
        let text = self.text(action);
        tell(text.clone());
        let mut after = Situation::default();
        if self.act(situation, action, &mut after)? {
            *situation = after;
            Ok(())
        } else {
            Err(ViolationKind::CallFailed {
                node: self.preset.machines[at].0,
                call: "the opening",
                error: format!("this cannot be: {text}"),
            })
        }
    }

    fn next_from(&self, situation: &Situation, from: NodeId, to: NodeId) -> Option<u32> {
        let mut letters = situation.flight.iter().copied();
        letters.find(|&letter| {
            let message = &self.letters[letter as usize].message;
            message.from == from && message.to == to
        })
    }

    /// What is to be done next between these machines: first what the machines have to do
    /// themselves.
    fn next_among(
        &self,
        situation: &Situation,
        ids: &[NodeId],
        arrives: impl Fn(&Message) -> bool,
    ) -> Option<(usize, Input)> {
        let positions = ids.iter().map(|&id| self.position(id));
        for at in positions.clone() {
            let machine = self.machine(situation, at);
            let (waiting, written) = machine.writes();
            let is_late = self.preset.disk(machine.id) == DiskKind::LateWord;
            let input = if is_late && waiting > 0 {
                Some(Input::Write)
            } else if waiting + written > 0 {
                u8::try_from(waiting + written).ok().map(Input::Acknowledge)
            } else if machine.has_to_apply() {
                Some(Input::Apply)
            } else {
                None
            };
            if let Some(input) = input {
                return Some((at, input));
            }
        }
        let mut letters = situation.flight.iter();
        let letter = letters.find(|&&letter| {
            let message = &self.letters[letter as usize].message;
            ids.contains(&message.from) && ids.contains(&message.to) && arrives(message)
        })?;
        Some((self.letters[*letter as usize].to, Input::Receive(*letter)))
    }

    /// An action in words.
    pub(super) fn text(&self, action: Action) -> String {
        let id = self.preset.machines[action.at].0;
        let what = match action.input {
            Input::Receive(letter) => {
                let letter = super::machine::describe(&self.letters[letter as usize].message);
                let how = if action.spends.is_some() {
                    ", which arrives once more"
                } else {
                    ""
                };
                format!("receives {letter}{how}")
            }
            Input::Lose(letter) => {
                let letter = super::machine::describe(&self.letters[letter as usize].message);
                format!("never receives {letter}")
            }
            Input::Campaign => "campaigns".into(),
            Input::Ping => "sends heartbeats".into(),
            Input::Tick => "ticks".into(),
            Input::Propose(number) => format!("is given command {number}"),
            Input::ProposeChange(number) => format!("is given membership change {number}"),
            Input::Read(number) => format!("is asked for read {number}"),
            Input::LeaseRead => "answers a read by its lease".into(),
            Input::Transfer(to) => format!("is asked to hand over to {to}"),
            Input::Write => "has one more write on its disk, and is not told".into(),
            Input::Acknowledge(1) => "has its oldest write on its disk".into(),
            Input::Acknowledge(count) => format!("has its oldest {count} writes on its disk"),
            Input::Apply => "applies".into(),
            Input::Crash {
                kept,
                unsynced_kept,
            } => {
                let rest = if unsynced_kept { "kept" } else { "lost" };
                format!(
                    "crashes; of the waiting writes {kept} are kept, what needs no sync is {rest}"
                )
            }
            Input::Start => "starts".into(),
        };
        format!("node {id} {what}")
    }
}
