//! Elections: votes that are counted, refused, forgotten, preferred.

use almadia::{Body, CampaignError, LogId, MembershipChange, RoleKind, Term, VoteResponse};

use crate::nodes::*;

fn safe(number: u64, voters: u64, terms: &[u64]) -> Node {
    let settings = almadia::Config::builder(id(number));
    open(settings, disk(voters, terms))
}

fn pre_vote_granted() -> Body {
    Body::PreVoteResponse(VoteResponse::Granted)
}

/// B06: who steps down within a term remembers its vote.
#[test]
fn b06_a_step_down_within_the_term_keeps_the_vote() {
    let mut node = follower(1, 3, &[1]);
    node.campaign().unwrap();
    settle(&mut node);
    let term = node.current_term().0;
    tell(&mut node, 2, term, append((1, 1), &[], 0));
    assert_eq!(node.role(), RoleKind::Follower);
    assert_eq!(node.basic_status().voted_for, Some(id(1)));
    let output = tell(&mut node, 3, term, request_vote((1, 9)));
    assert!(matches!(
        output.messages[0].body,
        Body::RequestVoteResponse(VoteResponse::Refused { .. })
    ));
}

/// B07: a pre-vote is no vote, and a vote is no pre-vote.
#[test]
fn b07_pre_votes_and_votes_are_counted_apart() {
    let mut candidate = follower(1, 3, &[]);
    candidate.campaign().unwrap();
    settle(&mut candidate);
    for from in [2, 3] {
        tell(&mut candidate, from, 1, pre_vote_granted());
        tell(&mut candidate, from, 2, pre_vote_granted());
    }
    assert_eq!(candidate.role(), RoleKind::Candidate);

    let mut pre_candidate = safe(1, 3, &[1]);
    pre_candidate.campaign().unwrap();
    settle(&mut pre_candidate);
    tell(&mut pre_candidate, 2, 1, granted());
    tell(&mut pre_candidate, 3, 1, granted());
    assert_eq!(pre_candidate.role(), RoleKind::PreCandidate);
}

/// B08, E16: with pre-votes the one with the longest log may be behind in terms. It must learn the
/// term from refusals, or nobody is ever elected.
#[test]
fn b08_e16_a_long_log_behind_in_terms_is_elected_with_pre_votes() {
    let longest = safe(3, 3, &[1, 1, 1]);
    let mut ahead = disk(3, &[1]);
    ahead.set_hard_state(hard_state(5, None, 0));
    let ahead = open(almadia::Config::builder(id(1)), ahead);
    let mut network = Network::new([ahead, longest]);
    for _ in 0..60 {
        network.tick(1);
        network.tick(3);
    }
    assert_eq!(network.node(3).role(), RoleKind::Leader);
    assert_eq!(network.node(1).leader(), Some(id(3)));
}

/// B13: a refusal of a later term takes the candidate into that term.
#[test]
fn b13_a_refusal_of_a_later_term_is_believed() {
    let mut node = follower(1, 3, &[]);
    node.campaign().unwrap();
    settle(&mut node);
    tell(&mut node, 2, 7, refused());
    assert_eq!(node.role(), RoleKind::Follower);
    assert_eq!(node.current_term(), Term(7));
}

/// B15: in a joint configuration an election takes both majorities.
#[test]
fn b15_a_joint_election_takes_both_majorities() {
    let mut storage = disk(3, &[1]);
    let mut joint = almadia::ConfState::of_voters([1, 4, 5].map(id));
    joint.voters_outgoing = [1, 2, 3].map(id).to_vec();
    storage.set_conf_state(joint);
    let mut node = open(settings(1), storage);
    node.campaign().unwrap();
    settle(&mut node);
    tell(&mut node, 4, 2, granted());
    tell(&mut node, 5, 2, granted());
    assert_eq!(
        node.role(),
        RoleKind::Candidate,
        "the old half has not voted"
    );
    tell(&mut node, 3, 2, granted());
    assert_eq!(node.role(), RoleKind::Leader);
}

/// B21: a node that starts again campaigns within the longest timeout.
#[test]
fn b21_a_restarted_node_waits_for_no_more_than_the_longest_timeout() {
    for number in 1..=3 {
        let mut node = safe(number, 3, &[1]);
        assert!(ticks_until_campaign(&mut node) <= node.config().max_election_timeout_ticks());
    }
}

/// B72: an append that is refused for want of the entry before is heard from a live leader all the
/// same.
#[test]
fn b72_a_refused_append_holds_off_the_election() {
    let mut node = safe(2, 3, &[]);
    for _ in 0..40 {
        ticks(&mut node, 5);
        tell(&mut node, 1, 1, append((1, 9), &[1], 0));
    }
    assert_eq!(node.role(), RoleKind::Follower);
    assert_eq!(node.leader(), Some(id(1)));
}

/// E17: a candidate that went ahead in terms with a short log is taken back into the cluster: the
/// leader learns the term from it, and is elected in a later one.
#[test]
fn e17_a_candidate_ahead_in_terms_with_a_short_log() {
    let mut ahead = disk(3, &[1]);
    ahead.set_hard_state(hard_state(9, Some(3), 0));
    let mut network = Network::new([
        safe(1, 3, &[1, 1]),
        safe(2, 3, &[1, 1]),
        open(settings(3).check_quorum(true), ahead),
    ]);
    network.campaign(1);
    for _ in 0..80 {
        (1..=3).for_each(|number| network.tick(number));
    }
    let leaders: Vec<u64> = (1..=3)
        .filter(|&number| network.node(number).role() == RoleKind::Leader)
        .collect();
    let [leader] = leaders[..] else {
        panic!("one leader, not {leaders:?}");
    };
    assert_ne!(leader, 3);
    assert!(network.node(3).current_term() >= Term(9));
    assert_eq!(network.node(3).leader(), Some(id(leader)));
}

/// E18: a pre-candidate follows nobody, so it does not stand by the leader it has given up; and
/// each round counts its own votes.
#[test]
fn e18_a_pre_candidate_has_forgotten_its_leader_and_earlier_rounds() {
    let mut node = safe(1, 5, &[1]);
    tell(&mut node, 2, 1, append((1, 1), &[], 0));
    ticks_until_campaign(&mut node);
    settle(&mut node);
    assert_eq!(node.role(), RoleKind::PreCandidate);
    assert_eq!(node.leader(), None);
    let output = tell(&mut node, 3, 2, pre_vote((1, 1)));
    assert_eq!(output.messages[0].body, pre_vote_granted());
    tell(&mut node, 3, 2, pre_vote_granted());
    let mut rounds = 0;
    while rounds < 2 {
        let output = ticks(&mut node, 1);
        rounds += u32::from(!output.messages.is_empty());
    }
    tell(&mut node, 4, 2, pre_vote_granted());
    assert_eq!(
        node.role(),
        RoleKind::PreCandidate,
        "two of five in this round"
    );
}

/// E19: without pre-votes a node that was away deposes the leader, once; then all is well.
#[test]
fn e19_without_pre_votes_a_node_that_was_away_deposes_the_leader_once() {
    let mut network = Network::of_logs(&[&[1], &[1], &[1]]);
    network.campaign(1);
    network.cut_off.insert(3);
    for _ in 0..50 {
        network.tick(3);
    }
    network.cut_off.clear();
    let term = network.node(3).current_term();
    for _ in 0..200 {
        (1..=3).for_each(|number| network.tick(number));
    }
    let settled = network.node(1).current_term();
    assert!(settled >= term);
    for _ in 0..100 {
        (1..=3).for_each(|number| network.tick(number));
    }
    assert_eq!(
        network.node(1).current_term(),
        settled,
        "no further election"
    );
}

/// E21: one node alone that forgets its leader deposes nobody.
#[test]
fn e21_a_single_node_that_forgets_its_leader_deposes_nobody() {
    let mut network = Network::new((1..=3).map(|number| safe(number, 3, &[])));
    network.campaign(1);
    assert!(network.node(2).forget_leader());
    assert_eq!(network.node(2).leader(), None);
    assert!(!network.node(2).forget_leader(), "there is none to forget");
    network.campaign(2);
    assert_eq!(network.node(1).role(), RoleKind::Leader);
    network.tick(1);
    assert_eq!(network.node(2).leader(), Some(id(1)));
}

/// E21: if a quorum knows by other ways that the leader is dead, it is replaced at once.
#[test]
fn e21_a_quorum_that_forgets_its_leader_elects_another_at_once() {
    let mut network = Network::new((1..=3).map(|number| safe(number, 3, &[])));
    network.campaign(1);
    network.cut_off.insert(1);
    network.campaign(2);
    assert_ne!(
        network.node(2).role(),
        RoleKind::Leader,
        "node 3 stands by node 1"
    );
    network.node(3).forget_leader();
    network.campaign(2);
    assert_eq!(network.node(2).role(), RoleKind::Leader);
}

/// E27: a new leader, and a leader with a new voter, give everybody a whole timeout to answer.
#[test]
fn e27_a_new_voter_has_time_to_answer() {
    let mut node = safe(1, 1, &[]);
    elect(&mut node);
    ticks(&mut node, 9);
    let change = MembershipChange::of([almadia::MemberChange::AddVoter(id(2))]);
    node.propose_conf_change("", change).unwrap();
    settle(&mut node);
    assert!(node.progress(id(2)).unwrap().recently_active());
    ticks(&mut node, 9);
    assert_eq!(node.role(), RoleKind::Leader);
    ticks(&mut node, 2);
    assert_eq!(
        node.role(),
        RoleKind::Follower,
        "it has not answered for a timeout"
    );
}

// --- Campaigns that are not to be ---

fn change_entry(term: u64, at: u64) -> almadia::Entry {
    let change = MembershipChange::of([almadia::MemberChange::AddVoter(id(4))]);
    almadia::Entry {
        payload: almadia::Payload::Change(change.into()),
        ..entry(term, at)
    }
}

/// A follower that has committed a membership change and not applied it.
fn with_unapplied_change() -> Node {
    let mut node = safe(2, 3, &[]);
    let body = Body::AppendEntries(almadia::AppendEntries {
        prev_log: LogId::ZERO,
        leader_commit: index(1),
        entries: [change_entry(1, 1)].into_iter().collect(),
    });
    node.step(message(1, 2, 1, body)).unwrap();
    let ready = take(&mut node);
    persist(&mut node, &ready);
    node
}

/// B16, E30: whatever makes a node campaign, it does not with a change that it has not applied.
/// Asked to take over, it does so as soon as it has.
#[test]
fn b16_e30_no_campaign_with_an_unapplied_change() {
    let mut node = with_unapplied_change();
    assert_eq!(node.campaign(), Err(CampaignError::UnappliedChange));
    for _ in 0..100 {
        node.tick().unwrap();
        assert_eq!(node.role(), RoleKind::Follower);
    }
    let mut node = with_unapplied_change();
    node.step(message(1, 2, 1, Body::TimeoutNow)).unwrap();
    assert_eq!(node.role(), RoleKind::Follower);
    let ready = take(&mut node);
    assert_eq!(ready.applies_to(), Some(index(1)));
    node.apply_conf_change(&MembershipChange::of([almadia::MemberChange::AddVoter(
        id(4),
    )]))
    .unwrap();
    assert_eq!(
        node.role(),
        RoleKind::Follower,
        "not before all is reported"
    );
    node.advance(ready).unwrap();
    assert_eq!(node.role(), RoleKind::Candidate);
}

/// B18: TimeoutNow is for followers that vote.
#[test]
fn b18_timeout_now_is_for_followers_with_a_vote() {
    let mut leading = leader(1, 3, &[]);
    let before = leading.clone();
    leading
        .step(message(2, 1, leading.current_term().0, Body::TimeoutNow))
        .unwrap();
    assert_eq!(leading, before);

    let mut candidate = follower(1, 3, &[]);
    candidate.campaign().unwrap();
    let before = candidate.clone();
    candidate.step(message(2, 1, 1, Body::TimeoutNow)).unwrap();
    assert_eq!(candidate, before);

    let mut storage = disk(3, &[1]);
    let mut conf_state = almadia::ConfState::of_voters([1, 3].map(id));
    conf_state.learners = vec![id(2)];
    storage.set_conf_state(conf_state);
    let mut learner = open(settings(2), storage);
    tell(&mut learner, 1, 1, Body::TimeoutNow);
    assert_eq!(learner.role(), RoleKind::Follower);
    assert_eq!(learner.current_term(), Term(1));
}

// --- Priorities ---

fn with_priority(number: u64, priority: i64, terms: &[u64]) -> Node {
    let settings = almadia::Config::builder(id(number)).priority(priority);
    open(settings, disk(3, terms))
}

fn asks(node: &mut Node, last: (u64, u64), priority: i64) -> VoteResponse {
    let mut request = candidacy(last);
    request.priority = priority;
    let term = node.current_term().0 + 1;
    let output = tell(node, 3, term, Body::RequestVote(request));
    let Body::RequestVoteResponse(response) = output.messages[0].body else {
        panic!("{output:?} has no answer to a candidate");
    };
    response
}

#[test]
fn priorities_decide_between_equal_logs() {
    let refused = |response| matches!(response, VoteResponse::Refused { .. });
    assert!(refused(asks(&mut with_priority(1, 5, &[1, 1]), (1, 2), 4)));
    for (last, priority) in [((1, 2), 5), ((1, 2), 6), ((1, 3), i64::MIN), ((2, 2), 0)] {
        let answer = asks(&mut with_priority(1, 5, &[1, 1]), last, priority);
        assert_eq!(answer, VoteResponse::Granted, "{last:?} {priority}");
    }
    assert!(refused(asks(
        &mut with_priority(1, i64::MAX, &[1]),
        (1, 1),
        i64::MIN
    )));
    let mut node = with_priority(1, 5, &[1]);
    node.set_priority(3);
    assert_eq!(asks(&mut node, (1, 1), 4), VoteResponse::Granted);
}

/// A node of the highest priority that cannot lead does not keep the others from it for ever.
#[test]
fn priorities_count_for_three_timeouts_only() {
    let mut node = with_priority(1, i64::MAX, &[1]);
    let longest = node.config().max_election_timeout_ticks();
    ticks(&mut node, 3 * longest - 1);
    let mut later = node.clone();
    assert!(matches!(
        asks(&mut node, (1, 1), 0),
        VoteResponse::Refused { .. }
    ));
    ticks(&mut later, 1);
    let answer = asks(&mut later, (1, 1), 0);
    assert_eq!(answer, VoteResponse::Granted);
}

/// Where its vote is needed, the node of the higher priority is elected, whoever asks first.
#[test]
fn a_node_of_higher_priority_is_elected() {
    for seed in 0..20 {
        let node = |number, priority| {
            let settings = almadia::Config::builder(id(number));
            open(settings.priority(priority).seed(seed), disk(3, &[1]))
        };
        let mut network = Network::new([node(1, 0), node(2, 9)]);
        for _ in 0..50 {
            network.tick(1);
            network.tick(2);
        }
        assert_eq!(network.node(2).role(), RoleKind::Leader, "seed {seed}");
    }
}

// --- The commit point in votes ---

/// All messages about votes that tell a commit point, from node 3 in term 1.
fn telling(commit: (u64, u64)) -> [Body; 4] {
    let commit = almadia::LogId::new(commit.0, commit.1);
    let request = almadia::RequestVote {
        commit,
        ..candidacy((1, 1))
    };
    let refused = VoteResponse::Refused { commit };
    [
        Body::RequestVote(request),
        Body::PreVote(request),
        Body::RequestVoteResponse(refused),
        Body::PreVoteResponse(refused),
    ]
}

#[test]
fn what_a_vote_or_its_refusal_tells_is_committed_where_the_log_holds_it() {
    for body in telling((1, 2)) {
        let mut node = follower(2, 3, &[1, 1, 1]);
        tell(&mut node, 3, 1, body);
        assert_eq!(node.commit_index(), index(2));
        // An earlier point takes nothing back.
        for body in telling((1, 1)) {
            tell(&mut node, 3, 1, body);
        }
        assert_eq!(node.commit_index(), index(2));
    }
    // Where the log differs or ends, nothing is known to be committed.
    for terms in [&[1, 2, 2][..], &[1]] {
        for body in telling((1, 3)) {
            let mut node = follower(2, 3, terms);
            node.step(message(3, 2, 2, body)).unwrap();
            assert_eq!(node.commit_index(), index(0), "{terms:?}");
        }
    }
}

/// A leader commits by counting, and a stranger is not believed.
#[test]
fn a_commit_point_is_believed_of_members_and_by_those_who_do_not_lead() {
    let mut node = leader(1, 3, &[1, 1]);
    tell(&mut node, 3, 1, telling((1, 2))[0].clone());
    assert_eq!(node.commit_index(), index(0));
    let mut node = follower(2, 3, &[1, 1]);
    node.step(message(9, 2, 1, telling((1, 2))[0].clone()))
        .unwrap();
    assert_eq!(node.commit_index(), index(0));
}

/// A candidate that learns of a membership change it has not applied gives up; one that learns of
/// anything else goes on.
#[test]
fn a_candidate_that_learns_of_a_change_gives_up() {
    let mut storage = disk(3, &[1]);
    storage.append(&[change_entry(1, 2)]).unwrap();
    let refusal = |commit| telling(commit)[2].clone();
    let mut candidate = open(settings(1), storage);
    candidate.campaign().unwrap();
    settle(&mut candidate);
    let mut informed = candidate.clone();
    informed.step(message(3, 1, 2, refusal((1, 2)))).unwrap();
    assert_eq!(informed.role(), RoleKind::Follower);
    candidate.step(message(3, 1, 2, refusal((1, 1)))).unwrap();
    assert_eq!(candidate.role(), RoleKind::Candidate);
    assert_eq!(candidate.commit_index(), index(1));
}

/// Who has just lost its vote stands for election no more.
#[test]
fn a_candidate_that_loses_its_vote_gives_up() {
    let change = |change| MembershipChange::of([change]);
    for pre_vote in [false, true] {
        let mut node = open(settings(1).pre_vote(pre_vote), disk(3, &[1]));
        node.campaign().unwrap();
        let role = node.role();
        node.apply_conf_change(&change(almadia::MemberChange::AddVoter(id(4))))
            .unwrap();
        assert_eq!(node.role(), role);
        node.apply_conf_change(&change(almadia::MemberChange::AddLearner(id(1))))
            .unwrap();
        assert_eq!(node.role(), RoleKind::Follower);
    }
}

/// A pre-candidate counts grants for the term that it asked for, and none for a later one.
#[test]
fn a_pre_vote_for_another_term_does_not_count() {
    let mut node = safe(1, 3, &[1]);
    node.campaign().unwrap();
    settle(&mut node);
    tell(&mut node, 2, 3, pre_vote_granted());
    assert_eq!(
        (node.role(), node.current_term()),
        (RoleKind::PreCandidate, Term(1))
    );
    tell(&mut node, 2, 2, pre_vote_granted());
    assert_eq!(
        (node.role(), node.current_term()),
        (RoleKind::Candidate, Term(2))
    );
}

/// Time does nothing to a candidate whose own vote is not durable.
#[test]
fn a_candidate_waits_for_its_disk_as_long_as_that_takes() {
    let mut node = follower(1, 3, &[1]);
    node.campaign().unwrap();
    let ready = take(&mut node);
    assert_eq!(node.ticks_until_action(), u32::MAX);
    persist(&mut node, &ready);
    assert!(node.ticks_until_action() < 100);
}

/// A ping brings heartbeats with the next `Ready`, if this node leads and there is anybody.
#[test]
fn a_ping_is_a_heartbeat_out_of_turn() {
    let mut node = leader(1, 3, &[1]);
    assert!(!node.has_ready());
    node.ping();
    assert!(node.has_ready());
    let sent = settle(&mut node).messages;
    assert!(sent.iter().all(|it| matches!(it.body, Body::Heartbeat(_))));
    assert_eq!(sent.len(), 2);
    let mut alone = leader(1, 1, &[1]);
    alone.ping();
    assert!(!alone.has_ready());
    let mut node = follower(1, 3, &[1]);
    node.ping();
    assert!(!node.has_ready());
}

/// Who steps down, and who may not campaign, waits for a whole timeout again.
#[test]
fn a_wait_begins_anew_for_who_had_none() {
    let mut deposed = leader(1, 3, &[1]);
    ticks(&mut deposed, 50);
    tell(&mut deposed, 2, 9, request_vote((1, 1)));
    assert_eq!(deposed.role(), RoleKind::Follower);
    assert!(deposed.ticks_until_action() >= 10);

    let mut refused = with_unapplied_change();
    let wait = refused.ticks_until_action();
    refused.tick_many(wait).unwrap();
    assert_eq!(refused.role(), RoleKind::Follower);
    assert!(refused.ticks_until_action() >= 10);
}
