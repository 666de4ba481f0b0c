//! Makes the calls of a recording again, and finds where what comes of them is not the same.
//!
//! Owns the rebuilt node and the comparison. Must not know who looks at it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use almadia::{
    AcknowledgeError, Entries, Entry, LogId, LogIndex, MemStorage, RawNode, Ready, Storage,
};
use thiserror::Error;

use super::call::{Advance, Visitor};
use super::coding::Malformed;
use super::format::{Action, End, Recording, RecordingError, Step};
use super::outcome::{Outcome, Output};
use super::witness::{Answer, Asked, KnownEntries, Question, Reply, Script, Witness};
use crate::digest::Digest;
use crate::scenario::panic_text;

/// A recording, made again step by step.
pub struct Replay<S = MemStorage> {
    recording: Recording,
    release: Option<String>,
    node: Option<RawNode<Witness<S>>>,
    script: Script,
    /// The obligations that were handed out, to be handed back.
    readies: BTreeMap<u64, Box<Ready>>,
    /// The entries that were handed out, where answers may name them.
    known: Option<BTreeMap<LogId, Entry>>,
    /// The last step after which the nodes were the same for certain.
    agreed: Option<u64>,
    is_told: bool,
    /// Whether a call that has not returned is made again.
    makes_unfinished: bool,
}

/// A step that was made again, with the same outcome.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Its number. Step 0 is the first start.
    pub step: u64,
    /// The method of [`RawNode`] that was called; `new` for a start.
    pub method: &'static str,
    /// The call and what came of it, if [`Replay::told`].
    pub text: Option<String>,
    /// The text of the panic in which the call ended, now as then.
    pub panic: Option<String>,
    /// Whether the recording ends within this step, so that nothing could be compared.
    pub is_cut: bool,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.as_deref().unwrap_or(self.method);
        write!(f, "{} {text}", self.step)
    }
}

/// Where a replay and its recording part.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("step {step}: {call}: {kind}")]
pub struct Divergence {
    /// The step.
    pub step: u64,
    /// The call.
    pub call: String,
    /// What differs.
    pub kind: DivergenceKind,
}

/// What differs between a replay and its recording.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DivergenceKind {
    /// Something else has come of the call.
    #[error("expected {expected}, got {got}, which is {output}")]
    Outcome {
        /// What the recording says.
        expected: Outcome,
        /// What has come of it now.
        got: Outcome,
        /// The same in full.
        output: String,
    },
    /// Outcomes are the same so far, but the nodes are not.
    #[error(
        "the node is not the same any more, though all that came out of it is: expected the hash \
         {expected:016x}, got {got:016x}; {}", since(*agreed)
    )]
    Node {
        /// The hash that the recording says.
        expected: u64,
        /// The hash now.
        got: u64,
        /// The last step after which they were compared and the same.
        agreed: Option<u64>,
    },
    /// The node asks its storage something else.
    #[error("expected the storage to be asked for {expected}, got {got}")]
    Asked {
        /// What the recording says.
        expected: String,
        /// What is asked now.
        got: String,
    },
    /// The storage had not given back what the node had given to it.
    #[error(
        "the storage has answered other entries than the node had handed out to be persisted, \
         somewhere from {first} to {last}; what they were is only recorded with StoredEntries::Whole"
    )]
    OtherEntries {
        /// The first of them.
        first: LogId,
        /// The last of them.
        last: LogId,
    },
    /// The call panics, which it did not when it was recorded.
    #[error("expected {expected}, got a panic: {text}")]
    Panicked {
        /// What the recording says.
        expected: Outcome,
        /// The text of the panic.
        text: String,
    },
    /// The call returns, which it did not when it was recorded.
    #[error("expected that the call does not return, got {got}")]
    Returned {
        /// What has come of it.
        got: Outcome,
    },
}

fn since(agreed: Option<u64>) -> String {
    agreed.map_or_else(
        || "they were not compared before".into(),
        |step| format!("they were the same after step {step}"),
    )
}

/// Why a replay cannot go on.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// It is not what happens now.
    #[error("divergence at {0}")]
    Diverged(Box<Divergence>),
}

impl<S: Storage + Clone> Replay<S> {
    /// Begins at the beginning.
    #[must_use]
    pub fn new(recording: Recording) -> Self {
        Self {
            makes_unfinished: true,
            ..Self::from_base(None, recording)
        }
    }

    /// Begins with a copy of the node from before the recording, which is told to leave out what
    /// has not returned.
    pub(super) fn from_base(base: Option<RawNode<Witness<S>>>, recording: Recording) -> Self {
        let script = Script::default();
        let node = base.map(|mut node| {
            *node.storage_mut() = Witness::of_script(script.clone());
            node
        });
        Self {
            recording,
            release: None,
            node,
            script,
            readies: BTreeMap::new(),
            known: None,
            agreed: None,
            is_told: false,
            makes_unfinished: false,
        }
    }

    /// Lets each step tell the call and what came of it, which takes time.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.is_told = true;
        self
    }

    /// The node as it is after the last step; `None` if it has not started.
    #[must_use]
    pub const fn node(&self) -> Option<&RawNode<Witness<S>>> {
        self.node.as_ref()
    }

    /// The release that has recorded the present life; `None` if the node has not started.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// Why the recording has no more steps, once there are none.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.recording.end()
    }

    /// Makes the next step; `None` if there are no more.
    ///
    /// # Errors
    ///
    /// If the step cannot be read, or something else comes of it than the recording says. The
    /// steps behind it then say nothing any more.
    pub fn next_step(&mut self) -> Result<Option<Replayed>, ReplayError> {
        let Some(mut step) = self.recording.next_step()? else {
            return Ok(None);
        };
        let action = step.action.clone();
        let mut replayed = Replayed {
            step: step.number,
            method: match &action {
                Action::Start(_) => "new",
                Action::Input(input) => input.method(),
            },
            text: None,
            panic: None,
            is_cut: step.is_cut,
        };
        let answers = std::mem::take(&mut step.answers);
        let result = if step.outcome.is_none() && !self.makes_unfinished {
            replayed.text = Some(format!("{action} has not returned"));
            Ok(())
        } else {
            self.resolve(answers).and_then(|answers| {
                self.script.open(answers);
                self.make(step, &mut replayed)
            })
        };
        match result {
            Ok(()) => Ok(Some(replayed)),
            Err(Trouble::Malformed(reason)) => {
                let step = replayed.step;
                Err(RecordingError::Malformed { step, reason }.into())
            }
            Err(Trouble::Differs(kind)) => Err(ReplayError::Diverged(Box::new(Divergence {
                step: replayed.step,
                call: action.to_string(),
                kind: *kind,
            }))),
        }
    }

    /// Makes this step, and compares what comes of it.
    fn make(&mut self, step: Step, replayed: &mut Replayed) -> Result<(), Trouble> {
        let Step {
            action,
            outcome: expected,
            ..
        } = step;
        let call = self.is_told.then(|| action.to_string());
        let text = |what: fmt::Arguments<'_>| call.map(|call| format!("{call} {what}"));
        let made = panic::catch_unwind(AssertUnwindSafe(|| self.act(action, expected.as_ref())));
        let asked = self.script.close();
        let came = match made {
            Ok(came) => came?,
            Err(payload) => {
                let panic = panic_text(payload.as_ref());
                let Some(expected) = expected else {
                    replayed.text = text(format_args!("panics: {panic}"));
                    replayed.panic = Some(panic);
                    return Ok(());
                };
                let text = panic;
                return Err(DivergenceKind::Panicked { expected, text }.into());
            }
        };
        let Came {
            outcome: got,
            text: output,
        } = came;
        let output = output.unwrap_or_default();
        if let Some(expected) = expected {
            if let Some(asked) = asked {
                return Err(asked.into());
            }
            if got != expected {
                return Err(DivergenceKind::Outcome {
                    expected,
                    got,
                    output,
                }
                .into());
            }
        } else if !step.is_cut {
            return Err(DivergenceKind::Returned { got }.into());
        }
        replayed.text = text(format_args!("=> {output}"));
        self.compare_nodes(step.number, step.node)
    }

    fn compare_nodes(&mut self, step: u64, expected: Option<u64>) -> Result<(), Trouble> {
        let (Some(expected), Some(node)) = (expected, &self.node) else {
            return Ok(());
        };
        let got = Digest::of(node);
        if got != expected {
            let agreed = self.agreed;
            return Err(DivergenceKind::Node {
                expected,
                got,
                agreed,
            }
            .into());
        }
        self.agreed = Some(step);
        Ok(())
    }

    fn act(&mut self, action: Action, expected: Option<&Outcome>) -> Result<Came, Trouble> {
        match action {
            Action::Start(start) => {
                self.readies.clear();
                self.known = start.names_entries.then(BTreeMap::new);
                self.agreed = None;
                self.release = Some(start.release);
                let storage = Witness::of_script(self.script.clone());
                let result = RawNode::new(start.config, storage);
                let outcome = match &result {
                    Ok(_) => Outcome::Done,
                    Err(error) => Outcome::refused(error),
                };
                let text = format!("{:?}", result.as_ref().map(drop));
                self.node = result.ok();
                Ok(Came {
                    outcome,
                    text: Some(text),
                })
            }
            Action::Input(input) => {
                let node = self
                    .node
                    .as_mut()
                    .ok_or(Malformed("a call of a node that has not started"))?;
                let eye = Eye {
                    readies: &mut self.readies,
                    known: self.known.as_mut(),
                    expected,
                    is_told: self.is_told,
                };
                Ok(input.call(node, eye))
            }
        }
    }

    /// Puts entries in the place of their names.
    fn resolve(&self, answers: VecDeque<Answer>) -> Result<VecDeque<Answer>, Trouble> {
        let resolved = answers.into_iter().map(|mut answer| {
            if let Ok(Reply::Known(known)) = &answer.reply {
                answer.reply = Ok(Reply::Entries(self.known_entries(known)?));
            }
            Ok(answer)
        });
        resolved.collect()
    }

    fn known_entries(&self, named: &KnownEntries) -> Result<Entries, Trouble> {
        let known = self.known.as_ref();
        let found = named.ids.iter().map(|id| known?.get(id).cloned());
        let found = found.collect::<Option<Entries>>();
        found
            .filter(|entries| Digest::of(entries) == named.digest)
            .ok_or_else(|| {
                let first = named.ids.first().copied().unwrap_or_default();
                let last = named.ids.last().copied().unwrap_or_default();
                DivergenceKind::OtherEntries { first, last }.into()
            })
    }
}

enum Trouble {
    Malformed(Malformed),
    Differs(Box<DivergenceKind>),
}

impl From<DivergenceKind> for Trouble {
    fn from(kind: DivergenceKind) -> Self {
        Self::Differs(Box::new(kind))
    }
}

impl From<Malformed> for Trouble {
    fn from(reason: Malformed) -> Self {
        Self::Malformed(reason)
    }
}

impl From<Asked> for Trouble {
    fn from(Asked { now, then }: Asked) -> Self {
        let text = |question: Option<Question>| {
            question.map_or_else(|| "nothing more".into(), |it| format!("{it:?}"))
        };
        let (expected, got) = (text(then), text(now));
        DivergenceKind::Asked { expected, got }.into()
    }
}

/// What has come of a call, now.
struct Came {
    outcome: Outcome,
    /// The same in full, if somebody wants to know.
    text: Option<String>,
}

/// Looks at what comes of a call, and keeps what the next ones need.
struct Eye<'a> {
    readies: &'a mut BTreeMap<u64, Box<Ready>>,
    known: Option<&'a mut BTreeMap<LogId, Entry>>,
    expected: Option<&'a Outcome>,
    is_told: bool,
}

impl Eye<'_> {
    /// What `advance` does, in parts, where the `Ready` itself is not there: it was handed out
    /// before the recording began, or by another node.
    fn advance_without<S: Storage + Clone>(
        &self,
        node: &mut RawNode<Witness<S>>,
        advance: Advance,
    ) -> Result<(), AcknowledgeError> {
        let Advance { number, applies_to } = advance;
        let foreign = AcknowledgeError::NoSuchReady(number);
        if self.expected == Some(&Outcome::refused(&foreign)) {
            return Err(foreign);
        }
        // Nothing of it counts if a part does not.
        let mut twin = node.clone();
        *twin.storage_mut() = Witness::of_script(Script::default());
        let check = |index: LogIndex| twin.applied(index);
        if let Some(Err(error @ AcknowledgeError::NotHandedOut { .. })) = applies_to.map(check) {
            return Err(error);
        }
        node.persisted(number)?;
        applies_to.map_or(Ok(()), |index| node.applied(index))
    }
}

impl<S: Storage + Clone> Visitor<Witness<S>> for Eye<'_> {
    type Seen = Came;

    fn see(self, output: impl Output) -> Came {
        let outcome = output.outcome();
        let is_wanted = self.is_told || Some(&outcome) != self.expected;
        let text = is_wanted.then(|| format!("{output:?}"));
        if let Some(mut ready) = output.into_ready() {
            if let Some(known) = self.known {
                let entries = ready.entries.iter().flatten();
                known.extend(entries.map(|entry| (entry.id, entry.clone())));
            }
            // The node wants to know again which one it was, not what was in it.
            ready.messages = Vec::new();
            ready.snapshot = None;
            ready.entries = Vec::new();
            ready.messages_after_persist = Vec::new();
            ready.committed_entries = Vec::new();
            self.readies.insert(ready.number, ready);
        }
        Came { outcome, text }
    }

    fn advance(self, node: &mut RawNode<Witness<S>>, advance: Advance) -> Came {
        let ready = self.readies.remove(&advance.number);
        let result = match ready.filter(|ready| ready.applies_to() == advance.applies_to) {
            Some(ready) => node.advance(ready),
            None => self.advance_without(node, advance),
        };
        Visitor::<Witness<S>>::see(self, result)
    }
}
