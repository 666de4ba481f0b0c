//! Storages from which a node does not start.

use super::*;

#[test]
fn start_any_error_of_any_method_asked() {
    for error in every_error() {
        let mut faulty = [sound(), sound(), sound(), sound()];
        let [initial_state, term, first_index, last_index] = &mut faulty;
        initial_state.initial_state = Some(Err(error.clone()));
        term.term = Some(Err(error.clone()));
        first_index.first_index = Some(Err(error.clone()));
        last_index.last_index = Some(Err(error.clone()));
        for storage in faulty {
            assert_eq!(start_error(storage), StartError::Storage(error.clone()));
        }
    }
}

#[test]
fn start_with_bounds_that_are_none() {
    let text = "first_index and last_index are no bounds";
    for (first, last) in [
        (0, 5),
        (0, 0),
        (7, 5),
        (u64::MAX, 5),
        (1, LogIndex::MAX.0 + 1),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
        (0, u64::MAX),
    ] {
        let mut storage = sound();
        storage.first_index = Some(Ok(LogIndex(first)));
        storage.last_index = Some(Ok(LogIndex(last)));
        let error = StartError::Storage(contract(text));
        assert_eq!(start_error(storage), error, "{first} to {last}");
    }
}

#[test]
fn start_with_impossible_terms() {
    let text = "the terms at the log's ends make no sense";
    for term in [0, 1, Term::MAX.0 + 1, u64::MAX] {
        let mut storage = sound();
        storage.term = Some(Ok(Term(term)));
        let error = StartError::Storage(contract(text));
        assert_eq!(start_error(storage), error, "term {term}");
    }
    let falling = snapshot(5, 4, ConfState::of_voters(voters()));
    let mut inner = MemStorage::with_snapshot(falling);
    inner.append(&[entry(3, 5)]).expect("consecutive");
    let error = StartError::Storage(contract(text));
    assert_eq!(start_error(Faulty::over(inner)), error);
}

#[test]
fn start_with_a_hard_state_that_is_not_this_logs() {
    let with = |term, commit| {
        let mut storage = sound();
        storage.inner.set_hard_state(HardState {
            current_term: Term(term),
            voted_for: None,
            commit_index: LogIndex(commit),
        });
        start_error(storage)
    };
    for commit in [6, LogIndex::MAX.0, u64::MAX] {
        let error = StartError::CommitOutOfRange {
            commit_index: LogIndex(commit),
            snapshot_index: LogIndex(0),
            last_index: LogIndex(5),
        };
        assert_eq!(with(2, commit), error);
    }
    for term in [0, 1] {
        let error = StartError::TermBehindLog {
            current_term: Term(term),
            last_log: LogId::new(2, 5),
        };
        assert_eq!(with(term, 4), error);
    }
    for term in [Term::MAX.0 + 1, u64::MAX] {
        let error = contract("the hard state's term is out of range");
        assert_eq!(with(term, 4), StartError::Storage(error));
    }
}

#[test]
fn start_with_a_commit_index_below_the_snapshot() {
    let mut inner = MemStorage::with_snapshot(snapshot(2, 4, ConfState::of_voters(voters())));
    inner.set_hard_state(HardState {
        commit_index: LogIndex(3),
        ..inner.hard_state()
    });
    let error = StartError::CommitOutOfRange {
        commit_index: LogIndex(3),
        snapshot_index: LogIndex(4),
        last_index: LogIndex(4),
    };
    assert_eq!(start_error(Faulty::over(inner)), error);
}

#[test]
fn start_with_an_inconsistent_membership() {
    let all = || ConfState::of_voters(voters());
    let learners = vec![id(2)];
    let cases = [
        (
            ConfState {
                learners: learners.clone(),
                ..all()
            },
            MembershipError::Conflict(id(2)),
        ),
        (
            ConfState {
                learners,
                ..ConfState::default()
            },
            MembershipError::NoVoters,
        ),
        (
            ConfState {
                voters_outgoing: vec![id(1)],
                ..ConfState::default()
            },
            MembershipError::NoVoters,
        ),
        (
            ConfState {
                learners_next: vec![id(3)],
                ..all()
            },
            MembershipError::Conflict(id(3)),
        ),
        (
            ConfState {
                auto_leave: true,
                ..all()
            },
            MembershipError::NothingToLeave,
        ),
    ];
    for (conf_state, error) in cases {
        let mut storage = sound();
        storage.inner.set_conf_state(conf_state);
        assert_eq!(start_error(storage), StartError::Membership(error));
    }
}
