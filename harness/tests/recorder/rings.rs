//! Recordings in memory that keep the last calls only.

use almadia_harness::recorder::ReportError;

use super::*;

fn config() -> Config {
    let config = Config::builder(id(1)).seed(SEED).incarnation(1).build();
    config.expect("a valid config")
}

/// A node that has done this over and over, on a ring of so many bytes.
fn busy(bytes: usize, rounds: u64) -> (Recorded<MemStorage>, Tape<MemStorage>) {
    let tape = Tape::ring(bytes);
    let mut node = Recorded::new(config(), storage(), tape.clone()).expect("a start");
    elect(&mut node);
    for _ in 0..rounds {
        node.propose("", "one of many").expect("it leads");
        work(&mut node);
        catch_up(&mut node);
        node.tick().expect("memory does not fail");
    }
    (node, tape)
}

#[test]
fn a_ring_knows_the_last_calls_and_what_came_of_them() {
    let (node, tape) = busy(2000, 500);
    let outcome = play(tape.replay_ring().expect("a ring")).expect("a recording");
    assert_eq!(outcome.divergence, None);
    assert_eq!(outcome.node.as_ref(), Some(&*node));
    let steps = outcome.steps.len();
    assert!((40..1000).contains(&steps), "{steps} steps");
    let first = outcome.steps[0].step;
    assert!(first > 2000, "{first} steps are forgotten");
    let numbers = outcome.steps.iter().map(|step| step.step);
    assert!(numbers.eq(first..first + steps as u64));
}

#[test]
fn a_large_ring_knows_everything() {
    let tape = Tape::ring(1 << 20);
    let mut node = Recorded::new(config(), storage(), tape.clone()).expect("a start");
    make_every_call(&mut node);
    let outcome = play(tape.replay_ring().expect("a ring")).expect("a recording");
    assert_eq!(outcome.divergence, None);
    assert_eq!(outcome.steps[0].method, "new");
    assert_eq!(outcome.node.as_ref(), Some(&*node));
}

/// Wherever the copy falls: between a `Ready` and its return, in the middle of an election.
#[test]
fn a_ring_of_any_size_ends_in_the_same_node() {
    for bytes in 1..300 {
        let tape = Tape::ring(bytes);
        let mut node = Recorded::new(config(), storage(), tape.clone()).expect("a start");
        make_every_call(&mut node);
        let outcome = play(tape.replay_ring().expect("a ring")).expect("a recording");
        assert_eq!(outcome.divergence, None, "{bytes} bytes");
        assert_eq!(outcome.node.as_ref(), Some(&*node), "{bytes} bytes");
    }
}

#[test]
fn the_report_tells_before_and_after() {
    let (node, tape) = busy(2000, 500);
    let mut report = String::new();
    tape.report(&mut report).expect("a ring");
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines[0].starts_with("before: RawNode {"), "{}", lines[0]);
    assert!(lines[1].contains(" => "), "{}", lines[1]);
    let last = lines.last().expect("some lines");
    assert_eq!(*last, format!("after: {:?}", *node));
}

#[test]
fn a_file_has_no_report() {
    let tape: Tape<MemStorage> = Memory::default().tape(exact());
    let error = tape.report(&mut String::new()).expect_err("it is a file");
    assert!(matches!(error, ReportError::NotARing), "{error}");
}

/// A disk that asks for the report when it is read, as a panic hook would.
#[derive(Clone)]
struct Hook {
    disk: MemStorage,
    tape: Tape<Hook>,
    report: Arc<Mutex<String>>,
}

impl Storage for Hook {
    fn initial_state(&self) -> Result<almadia::InitialState, almadia::StorageError> {
        self.disk.initial_state()
    }

    fn entries(
        &self,
        request: &almadia::EntriesRequest,
    ) -> Result<almadia::Entries, almadia::StorageError> {
        let mut report = self.report.lock().expect("one thread");
        self.tape.report(&mut *report).expect("a ring");
        self.disk.entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, almadia::StorageError> {
        self.disk.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, almadia::StorageError> {
        self.disk.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, almadia::StorageError> {
        self.disk.last_index()
    }

    fn snapshot(
        &self,
        request_index: LogIndex,
        to: NodeId,
    ) -> Result<almadia::Snapshot, almadia::StorageError> {
        self.disk.snapshot(request_index, to)
    }
}

#[test]
fn a_report_can_be_had_from_within_a_call() {
    let mut disk = storage();
    let entry = Entry {
        id: LogId::new(1, 1),
        payload: Payload::Data("x".into()),
        context: "".into(),
    };
    disk.append([entry]).expect("a log");
    disk.set_hard_state(almadia::HardState {
        current_term: Term(1),
        voted_for: None,
        commit_index: LogIndex(1),
    });
    let report = Arc::<Mutex<String>>::default();
    let tape = Tape::ring(1000);
    let disk = Hook {
        disk,
        tape: tape.clone(),
        report: Arc::clone(&report),
    };
    let mut node = Recorded::new(Config::new(id(1)), disk, tape).expect("a start");
    node.tick().expect("memory does not fail");
    let ready = node.ready().expect("memory does not fail");
    assert!(ready.is_some(), "there is an entry to be applied");
    let report = report.lock().expect("one thread").clone();
    assert!(report.contains("\n1 Tick => Ok(())\n"), "{report}");
    assert!(
        report.contains("\n2 TakeReady has not returned\n"),
        "{report}"
    );
}
