//! The run loop on one page: one node, one log in memory, a state machine that counts.
//!
//! This is the page to copy. A real embedder replaces `MemStorage` by its log, `apply` by its
//! state machine and `send` by its transport; the order of the steps stays.

use almadia::{
    Config, Entry, LogIndex, MemStorage, Message, NodeId, Payload, RawNode, Ready, RoleKind,
};

/// The state machine: the sum of all commands, and how far it has got.
#[derive(Default)]
struct Counter {
    sum: u64,
    applied: LogIndex,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let id = NodeId::new(1).ok_or("node ids start at 1")?;
    let storage = MemStorage::with_voters([id]);
    let mut node = RawNode::new(Config::builder(id).seed(42).build()?, storage)?;
    let mut counter = Counter::default();
    let mut next = 1_u64;

    while counter.sum < 5050 {
        // Inputs: time, messages from peers (`node.step(message)`), proposals of clients.
        node.tick()?;
        if node.role() == RoleKind::Leader && next <= 100 {
            node.propose("", next.to_be_bytes().to_vec())?;
            next += 1;
        }
        // Output: do what the node asks for, until it asks for nothing more.
        while let Some(ready) = node.ready()? {
            handle(&mut node, &mut counter, ready)?;
        }
    }
    println!("applied {} entries, sum {}", counter.applied, counter.sum);
    Ok(())
}

/// Fulfils one `Ready`. The order matters: see the table in the crate's documentation.
fn handle(
    node: &mut RawNode<MemStorage>,
    counter: &mut Counter,
    mut ready: Box<Ready>,
) -> Result<(), Box<dyn std::error::Error>> {
    // 1. Messages that need not wait for the disk.
    ready.messages.drain(..).for_each(send);

    // 2. Persist. A real disk does this in one write, and one fsync if `ready.must_sync`.
    if let Some(snapshot) = ready.snapshot.take() {
        // With a snapshot, the state machine's content is replaced as well: `counter` from
        // `snapshot.data`.
        node.storage_mut().install_snapshot(*snapshot)?;
    }
    for run in &ready.entries {
        node.storage_mut().append(run)?;
    }
    if let Some(hard_state) = ready.hard_state {
        node.storage_mut().set_hard_state(hard_state);
    }

    // 3. Messages that speak for what is durable now.
    ready.messages_after_persist.drain(..).for_each(send);

    // 4. Apply what is committed.
    for entry in ready.committed_entries.iter().flatten() {
        apply(node, counter, entry)?;
    }

    // 5. Tell the node that all this is done.
    node.advance(ready)?;
    Ok(())
}

fn apply(
    node: &mut RawNode<MemStorage>,
    counter: &mut Counter,
    entry: &Entry,
) -> Result<(), Box<dyn std::error::Error>> {
    match &entry.payload {
        // A leader opens its term with an entry that carries nothing.
        Payload::Data(data) if data.is_empty() => {}
        Payload::Data(data) => counter.sum += u64::from_be_bytes(data.as_ref().try_into()?),
        // Store the returned membership together with the state machine, never on its own: the
        // next start wants `Config::applied` and the membership of one moment. Here, where nothing
        // outlives the program, there is no next start.
        Payload::Change(change) => drop(node.apply_conf_change(change)?),
    }
    counter.applied = entry.index();
    Ok(())
}

/// The transport. A cluster of one never uses it.
fn send(message: Message) {
    println!("to node {}: {}", message.to, message.body.kind());
}
