//! What entries do to the state machine.
//!
//! Owns the meaning of each command, once and only once for numbered writes.

use std::collections::BTreeMap;

use almadia::{ConfState, Entry, LogIndex, MembershipChange, Payload};
use parking_lot::RwLockWriteGuard;

use super::{
    Effect, LastWrite, MAX_SESSIONS, SESSION_BY_AGE, StateError, age_key, data_key, of_region,
    read_region, region_key, session_key, sessions,
};
use crate::command::{Command, Outcome, Session, Write};
use crate::kv::Layers;
use crate::region::{Address, Region, RegionId};

/// The state machines, to be changed.
pub struct Changing<'s>(pub(super) RwLockWriteGuard<'s, Layers>);

impl Changing<'_> {
    /// A region.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn region(&self, id: RegionId) -> Result<Option<Region>, StateError> {
        read_region(&self.0, id)
    }

    /// How many bytes of changes are not durable.
    #[must_use]
    pub fn undurable_bytes(&self) -> usize {
        self.0.recent_bytes()
    }

    /// Stores what is known of a region.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn put_region(&mut self, region: &Region) -> Result<(), StateError> {
        let record = postcard::to_stdvec(region)?;
        self.0.insert(region_key(region.id), record);
        Ok(())
    }

    /// Applies entries of a region, in the order of the log. `memberships` has the membership after
    /// each change among them that took place.
    ///
    /// # Errors
    ///
    /// If the database fails, or does not have the region.
    pub fn apply<'e>(
        &mut self,
        region: &mut Region,
        entries: impl IntoIterator<Item = &'e Entry>,
        memberships: &BTreeMap<LogIndex, ConfState>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StateError> {
        for entry in entries {
            let applied = region.applied().index;
            if entry.id.index <= applied {
                continue;
            }
            if entry.id.index != applied.next() {
                return Err(StateError::Gap(applied, entry.id.index));
            }
            region.set_applied(entry.id);
            match &entry.payload {
                Payload::Data(data) if data.is_empty() => {}
                Payload::Data(data) => {
                    let outcome = self.carry_out(region, data, effects)?;
                    effects.push(Effect::Outcome(entry.id, outcome));
                }
                Payload::Change(change) => {
                    let mut outcome = Outcome::ImpossibleChange;
                    if let Some(membership) = memberships.get(&entry.id.index) {
                        region.set_membership(membership);
                        change_addresses(&mut region.addresses, change, membership);
                        outcome = Outcome::Done;
                    }
                    effects.push(Effect::Outcome(entry.id, outcome));
                }
            }
        }
        self.put_region(region)
    }

    fn carry_out(
        &mut self,
        region: &mut Region,
        command: &[u8],
        effects: &mut Vec<Effect>,
    ) -> Result<Outcome, StateError> {
        match Command::decode(command) {
            Some(Command::Write { session, writes }) => {
                let session = session.as_ref();
                self.write_once(region, session, &writes)
            }
            Some(Command::Split { at, new }) => {
                if !region.range.contains(&at) || at == region.range.start {
                    return Ok(Outcome::OutsideOfRegion);
                }
                let part = self.split(region, at, new)?;
                effects.push(Effect::Split(part));
                Ok(Outcome::Done)
            }
            None => Ok(Outcome::Unintelligible),
        }
    }

    fn write_once(
        &mut self,
        region: &mut Region,
        session: Option<&Session>,
        writes: &[Write],
    ) -> Result<Outcome, StateError> {
        if !writes
            .iter()
            .all(|write| region.range.contains(write.key()))
        {
            return Ok(Outcome::OutsideOfRegion);
        }
        let Some(session) = session else {
            return self.write_all(writes);
        };
        let last = self.last_write(region.id, &session.client)?;
        match &last {
            Some(last) if last.sequence == session.sequence => return Ok(last.outcome.clone()),
            Some(last) if last.sequence > session.sequence => {
                return Ok(Outcome::OldSequence {
                    last: last.sequence,
                });
            }
            // It may have written in another region, or in this one so long ago that it is forgotten.
            None if session.sequence != 1 && region.has_forgotten => {
                return Ok(Outcome::UnknownClient);
            }
            Some(_) | None => {}
        }
        let outcome = self.write_all(writes)?;
        let new = LastWrite {
            sequence: session.sequence,
            outcome: outcome.clone(),
            age: region.numbered_writes,
        };
        region.numbered_writes += 1;
        self.remember(region, &session.client, last.as_ref(), &new)?;
        Ok(outcome)
    }

    fn last_write(&self, id: RegionId, client: &str) -> Result<Option<LastWrite>, StateError> {
        let record = self.0.get(&session_key(id, client))?;
        Ok(record
            .map(|record| postcard::from_bytes(&record))
            .transpose()?)
    }

    fn remember(
        &mut self,
        region: &mut Region,
        client: &str,
        last: Option<&LastWrite>,
        new: &LastWrite,
    ) -> Result<(), StateError> {
        let id = region.id;
        self.0
            .insert(session_key(id, client), postcard::to_stdvec(new)?);
        self.0.insert(age_key(id, new.age), client.into());
        if let Some(last) = last {
            self.0.remove(age_key(id, last.age));
            return Ok(());
        }
        if region.sessions < MAX_SESSIONS {
            region.sessions += 1;
            return Ok(());
        }
        let mut oldest = None;
        let (from, to) = of_region(SESSION_BY_AGE, id);
        self.0.scan::<StateError>(&from, Some(&to), |key, client| {
            oldest = Some((key.to_vec(), String::from_utf8_lossy(client).into_owned()));
            Ok(false)
        })?;
        if let Some((key, client)) = oldest {
            region.has_forgotten = true;
            self.0.remove(key);
            self.0.remove(session_key(id, &client));
        }
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<Outcome, StateError> {
        match write {
            Write::Put { key, value } => {
                self.0.insert(data_key(key), value.clone());
            }
            Write::Delete { key } => {
                self.0.remove(data_key(key));
            }
            Write::Cas {
                key,
                expected,
                value,
            } => {
                let current = self.0.get(&data_key(key))?;
                if current != *expected {
                    let key = key.clone();
                    return Ok(Outcome::Unequal { key, current });
                }
                self.set(key, value.as_deref());
            }
        }
        Ok(Outcome::Done)
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.0.insert(data_key(key), value.to_vec()),
            None => self.0.remove(data_key(key)),
        }
    }

    /// Carries out all of them, one after another, or takes back those that are.
    fn write_all(&mut self, writes: &[Write]) -> Result<Outcome, StateError> {
        let mut before = Vec::new();
        for write in writes {
            let key = write.key();
            before.push((key, self.0.get(&data_key(key))?));
            let outcome = self.write(write)?;
            if outcome == Outcome::Done {
                continue;
            }
            for (key, value) in before.into_iter().rev() {
                self.set(key, value.as_deref());
            }
            return Ok(outcome);
        }
        Ok(Outcome::Done)
    }

    /// Divides a region. Both parts remember the clients of the whole.
    fn split(
        &mut self,
        region: &mut Region,
        at: Vec<u8>,
        new: RegionId,
    ) -> Result<Region, StateError> {
        let mut part = region.clone();
        part.id = new;
        part.range.start.clone_from(&at);
        part.version += 1;
        part.set_applied(crate::region::BEGIN);
        region.range.end = Some(at);
        region.version += 1;
        for (client, last) in sessions(&self.0, region.id)? {
            let age = postcard::from_bytes::<LastWrite>(&last)?.age;
            self.0.insert(session_key(new, &client), last);
            self.0.insert(age_key(new, age), client.into());
        }
        self.put_region(&part)?;
        Ok(part)
    }
}

/// A change says in its context where those can be reached whom it adds.
fn change_addresses(
    addresses: &mut BTreeMap<u64, Address>,
    change: &MembershipChange,
    membership: &ConfState,
) {
    if let Ok(new) = postcard::from_bytes::<BTreeMap<u64, Address>>(&change.context) {
        addresses.extend(new);
    }
    let members = [
        &membership.voters,
        &membership.learners,
        &membership.voters_outgoing,
    ];
    let is_member = |id: u64| {
        members
            .iter()
            .any(|ids| ids.iter().any(|member| member.get() == id))
    };
    addresses.retain(|id, _| is_member(*id));
}
