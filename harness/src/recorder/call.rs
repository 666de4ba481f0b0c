//! Every call that changes a node, as a value: what is recorded, and what is called again.
//!
//! Owns the table of calls. One line of it makes the value, its bytes, and the call of the node,
//! which the recorded node and the replay share, so that they cannot drift apart. A test compares
//! the table with the methods of [`RawNode`]. Must not know tapes or files.

use std::fmt;
use std::num::NonZeroU64;

use almadia::{
    AcknowledgeError, Bytes, CampaignError, ChangeError, ConfState, Halted, LogId, LogIndex,
    MembershipChange, Message, NodeId, ProposeError, Purpose, RawNode, ReadError, Ready,
    RequestSnapshotError, SnapshotStatus, StepError, Storage, TransferError, Window,
};

use super::coding::{Coded, Malformed, Reader, Writer};
use super::outcome::Output;

/// A call of a node.
pub(super) trait Call {
    /// What the node returns.
    type Output: Output;

    fn encode(&self, out: &mut Writer);

    fn call<S: Storage>(self, node: &mut RawNode<S>) -> Self::Output;
}

macro_rules! calls {
    ($($tag:literal $name:ident { $($field:ident: $type:ty),* }
        => $method:ident($($argument:expr),*) -> $output:ty;)*) => {
        $(
            #[derive(Clone, Debug)]
            pub(super) struct $name { $(pub(super) $field: $type),* }

            impl Call for $name {
                type Output = $output;

                fn encode(&self, out: &mut Writer) {
                    let Self { $($field),* } = self;
                    out.byte($tag);
                    $($field.encode(out);)*
                }

                fn call<S: Storage>(self, node: &mut RawNode<S>) -> Self::Output {
                    let Self { $($field),* } = self;
                    node.$method($($argument),*)
                }
            }
        )*

        /// Any call, as a recording holds it.
        #[derive(Clone)]
        pub(super) enum Input {
            $($name($name),)*
            /// `RawNode::advance`, which takes what cannot be made anew.
            Advance(Advance),
        }

        impl Input {
            /// The name of the method.
            pub(super) const fn method(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($method),)*
                    Self::Advance(_) => "advance",
                }
            }

            pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                match from.byte()? {
                    $($tag => {
                        $(let $field = Coded::decode(from)?;)*
                        Ok(Self::$name($name { $($field),* }))
                    })*
                    Advance::TAG => Advance::decode(from).map(Self::Advance),
                    _ => Err(Malformed("there is no such call")),
                }
            }

            /// Makes the call, and hands on what has come of it.
            pub(super) fn call<S: Storage, V: Visitor<S>>(
                self,
                node: &mut RawNode<S>,
                visitor: V,
            ) -> V::Seen {
                match self {
                    $(Self::$name(call) => {
                        let output = call.call(node);
                        visitor.see(output)
                    })*
                    Self::Advance(advance) => visitor.advance(node, advance),
                }
            }
        }

        impl fmt::Debug for Input {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name(call) => call.fmt(f),)*
                    Self::Advance(call) => call.fmt(f),
                }
            }
        }
    };
}

calls! {
    0 Tick {} => tick() -> Result<(), Halted>;
    1 TickMany { ticks: u32 } => tick_many(ticks) -> Result<(), Halted>;
    2 Step { message: Message } => step(message) -> Result<(), StepError>;
    3 Propose { context: Bytes, data: Bytes }
        => propose(context, data) -> Result<LogId, ProposeError>;
    4 ProposeConfChange { context: Bytes, change: MembershipChange }
        => propose_conf_change(context, change) -> Result<LogId, ProposeError>;
    5 ApplyConfChange { change: MembershipChange }
        => apply_conf_change(&change) -> Result<ConfState, ChangeError>;
    6 Campaign {} => campaign() -> Result<(), CampaignError>;
    7 ReadIndex { context: Bytes } => read_index(context) -> Result<(), ReadError>;
    8 LeaseRead { context: Bytes } => lease_read(context) -> Result<(), ReadError>;
    9 TransferLeader { transferee: NodeId }
        => transfer_leader(transferee) -> Result<(), TransferError>;
    10 ForgetLeader {} => forget_leader() -> bool;
    11 Ping {} => ping() -> ();
    12 RequestSnapshot {} => request_snapshot() -> Result<(), RequestSnapshotError>;
    13 OnEntriesFetched { purpose: Purpose } => on_entries_fetched(purpose) -> ();
    14 SetWindow { peer: NodeId, window: Option<Window> } => set_window(peer, window) -> bool;
    15 SetGroupCommit { in_force: bool } => set_group_commit(in_force) -> ();
    16 AssignCommitGroup { member: NodeId, group: Option<NonZeroU64> }
        => assign_commit_group(member, group) -> ();
    17 SetPriority { priority: i64 } => set_priority(priority) -> ();
    18 SetSkipCommitBroadcast { skip: bool } => set_skip_commit_broadcast(skip) -> ();
    19 ReportUnreachable { peer: NodeId } => report_unreachable(peer) -> ();
    20 ReportSnapshot { peer: NodeId, status: SnapshotStatus }
        => report_snapshot(peer, status) -> ();
    21 TakeReady {} => ready() -> Result<Option<Box<Ready>>, Halted>;
    23 Persisted { number: u64 } => persisted(number) -> Result<(), AcknowledgeError>;
    24 Applied { index: LogIndex } => applied(index) -> Result<(), AcknowledgeError>;
}

/// The call of `RawNode::advance`, as a recording holds it. A [`Ready`] can be made by a node
/// alone, so it stands here by what it acknowledges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advance {
    pub(super) number: u64,
    pub(super) applies_to: Option<LogIndex>,
}

impl Advance {
    const TAG: u8 = 22;

    pub(super) const fn of(ready: &Ready) -> Self {
        Self {
            number: ready.number,
            applies_to: ready.applies_to(),
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        let Self { number, applies_to } = self;
        out.byte(Self::TAG);
        number.encode(out);
        applies_to.encode(out);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let number = Coded::decode(from)?;
        let applies_to = Coded::decode(from)?;
        Ok(Self { number, applies_to })
    }
}

/// Whoever makes calls of any kind and looks at what has come of them.
pub(super) trait Visitor<S> {
    type Seen;

    fn see(self, output: impl Output) -> Self::Seen;

    /// Makes this call, for which a `Ready` is needed.
    fn advance(self, node: &mut RawNode<S>, advance: Advance) -> Self::Seen;
}
