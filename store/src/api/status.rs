//! `cluster.status`: the cluster as this node sees it.
//!
//! Owns the form of the answer. What it says is the table of the regions' and the transport's.

use almadia::NodeId;
use serde_json::{Map, Value, json};

use super::Api;
use crate::routes::Route;

pub(super) fn status(api: &Api) -> Value {
    let routes = api.service.routes.all();
    let regions: Vec<_> = routes.values().map(region).collect();
    json!({
        "node": api.service.me.get(),
        // By this clock whoever asks again finds out how fast something grows.
        "uptime_seconds": api.metrics.uptime().as_secs_f64(),
        "nodes": nodes(api),
        "regions": regions,
    })
}

fn nodes(api: &Api) -> Map<String, Value> {
    let service = &api.service;
    let addresses = service.addresses().into_iter();
    let nodes = addresses.map(|(id, address)| {
        let is_reachable = NodeId::new(id)
            .is_some_and(|id| id == service.me || service.transport.is_connected(id));
        let node = json!({
            "peer": address.peer,
            "client": address.client,
            "reachable": is_reachable,
        });
        (id.to_string(), node)
    });
    nodes.collect()
}

fn region(route: &Route) -> Value {
    let show = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let matched = route.matched.iter();
    let matched = matched.map(|(id, index)| json!({ "node": id.get(), "index": index }));
    json!({
        "region": route.region.0,
        "start": show(&route.range.start),
        "end": route.range.end.as_ref().map(show),
        "version": route.version,
        "role": format!("{:?}", route.role),
        "leader": route.leader.map(NodeId::get),
        "term": route.term,
        "last": route.last,
        "committed": route.committed,
        "applied": route.applied,
        "uncommitted": route.last.saturating_sub(route.committed),
        "unapplied": route.committed.saturating_sub(route.applied),
        "log_entries": route.log_len,
        "asleep": route.is_asleep,
        "voters": ids(&route.membership.voters),
        "learners": ids(&route.membership.learners),
        "matched": matched.collect::<Vec<_>>(),
    })
}

fn ids(ids: &[NodeId]) -> Vec<u64> {
    ids.iter().map(|id| id.get()).collect()
}
