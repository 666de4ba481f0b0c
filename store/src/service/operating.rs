//! What operators want: who leads, who belongs, where regions are divided.
//!
//! Owns the steps of which such a wish consists. Each may be asked for again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use almadia::{ConfState, MemberChange, MembershipChange, NodeId};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Consistency, PAUSE, Service, ServiceError, Wanted, invalid};
use crate::command::{Command, Outcome};
use crate::region::{Address, RegionId};
use crate::routes::Route;

/// For so long a node may take to learn what there is.
const CATCHING_UP: Duration = Duration::from_secs(120);
/// A change of members, and whether it is in force.
type Step<'a> = (
    &'a MembershipChange,
    &'a (dyn Fn(&ConfState) -> bool + Sync),
);

impl Service {
    /// Has another node lead a region.
    ///
    /// # Errors
    ///
    /// If it does not lead afterwards.
    pub async fn transfer(&self, region: RegionId, to: NodeId) -> Result<(), ServiceError> {
        let find = || self.routes.region(region);
        if find().is_some_and(|route| route.leader == Some(to)) {
            return Ok(());
        }
        self.have_done(find, &Wanted::Transfer(to), true)
            .await
            .map(drop)
    }

    /// Makes a node a voter of all regions, one after another: first it learns what there is.
    ///
    /// # Errors
    ///
    /// If it could not be done everywhere. It may be asked for again.
    pub async fn add_node(&self, id: NodeId, address: &Address) -> Result<usize, ServiceError> {
        let addresses = BTreeMap::from([(id.get(), address.clone())]);
        let context: Bytes = postcard::to_stdvec(&addresses).unwrap_or_default().into();
        let mut learn = MembershipChange::of([MemberChange::AddLearner(id)]);
        learn.context = context.clone();
        let mut vote = MembershipChange::of([MemberChange::AddVoter(id)]);
        vote.context = context;
        let is_voter = |members: &ConfState| members.voters.contains(&id);
        let is_member = |members: &ConfState| is_voter(members) || members.learners.contains(&id);
        self.in_all_regions(&[(&learn, &is_member), (&vote, &is_voter)])
            .await
    }

    /// Makes a node a member of no region any more.
    ///
    /// # Errors
    ///
    /// If it could not be done everywhere. It may be asked for again.
    pub async fn remove_node(&self, id: NodeId) -> Result<usize, ServiceError> {
        let change = MembershipChange::of([MemberChange::Remove(id)]);
        let is_gone =
            |members: &ConfState| !members.voters.contains(&id) && !members.learners.contains(&id);
        self.in_all_regions(&[(&change, &is_gone)]).await
    }

    /// Makes these changes in all regions, those too that come off others meanwhile. Returns how many
    /// regions there are.
    async fn in_all_regions(&self, changes: &[Step<'_>]) -> Result<usize, ServiceError> {
        let deadline = Instant::now() + CATCHING_UP;
        loop {
            let regions = self.all_regions()?;
            let mut is_changed = false;
            for region in regions.values().map(|route| route.region) {
                for (change, is_done) in changes {
                    is_changed |= self.change_until(region, change, is_done).await?;
                }
            }
            if !is_changed {
                return Ok(regions.len());
            }
            if Instant::now() > deadline {
                return Err(ServiceError::OutcomeUnknown(
                    "somebody else changes the members, too".to_owned(),
                ));
            }
            // A division that is under way is applied here soon.
            sleep(PAUSE).await;
        }
    }

    fn all_regions(&self) -> Result<Arc<BTreeMap<Vec<u8>, Route>>, ServiceError> {
        let regions = self.routes.all();
        // Each region begins where the one before ends, from the first key to the last.
        let mut end = Some(Vec::new());
        for (start, route) in regions.iter() {
            if end.as_ref() != Some(start) {
                break;
            }
            end.clone_from(&route.range.end);
        }
        if regions.is_empty() || end.is_some() {
            return Err(invalid(
                "this node does not hold all regions (yet); ask one that does",
            ));
        }
        Ok(regions)
    }

    /// Changes the members of a region until they are as they should be. To ask for it twice does no
    /// harm. Returns whether there was anything to change.
    async fn change_until(
        &self,
        region: RegionId,
        change: &MembershipChange,
        is_done: &(dyn Fn(&ConfState) -> bool + Sync),
    ) -> Result<bool, ServiceError> {
        let deadline = Instant::now() + CATCHING_UP;
        let mut is_changed = false;
        loop {
            // What this node has applied may be old.
            let known = self
                .barrier(region, Consistency::Linearizable, deadline)
                .await;
            match (self.routes.region(region), known) {
                (Some(route), Ok(())) if is_done(&route.membership) => return Ok(is_changed),
                (Some(_), Ok(())) => {}
                // It may be this node that is removed.
                (None, _) if is_changed => return Ok(true),
                (_, Err(why)) if Instant::now() >= deadline => {
                    return Err(ServiceError::Unavailable(why.to_string()));
                }
                (None, _) | (_, Err(_)) => {
                    sleep(PAUSE).await;
                    continue;
                }
            }
            is_changed = true;
            let find = || self.routes.region(region);
            let wanted = Wanted::Change(change.clone());
            match self.have_done(find, &wanted, false).await {
                Ok(Outcome::ImpossibleChange) => {
                    return Err(invalid("the members cannot be changed like this"));
                }
                Ok(_) => return Ok(true),
                Err(ServiceError::Unavailable(_) | ServiceError::OutcomeUnknown(_))
                    if Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Divides the region of this key, which becomes the first one of a new region.
    ///
    /// # Errors
    ///
    /// If it was not done, or that is not known.
    pub async fn split(&self, at: Vec<u8>, new: RegionId) -> Result<(), ServiceError> {
        if let Some(route) = self.routes.of(&at)
            && route.range.start == at
        {
            return Err(invalid("a region begins at this key already"));
        }
        let command = Command::Split {
            at: at.clone(),
            new,
        }
        .encode();
        let find = || self.routes.of(&at);
        self.have_done(find, &Wanted::Command(command.into()), false)
            .await
            .map(drop)
    }

    /// Where the nodes are that this one knows of.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<u64, Address> {
        let regions = self.state.regions().unwrap_or_default();
        let known = regions.into_iter().flat_map(|region| region.addresses);
        // Where clients reach a node it says itself, when it connects.
        let with_client = known.map(|(id, mut address)| {
            if let Some(said) = NodeId::new(id).and_then(|id| self.transport.address(id)) {
                address.client = said.client;
            }
            (id, address)
        });
        with_client.collect()
    }
}
