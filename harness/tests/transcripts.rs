//! This project's own transcripts, in `harness/tests/scripts`: what a cluster does, in the words of
//! the paper. The commands are explained at `almadia_harness::script::ScenarioCommands`.
//!
//! Owns their comparison. With `ALMADIA_BLESS=1` in the environment, the outputs that there are take
//! the place of those that are expected; look at what has changed before it is kept.

use std::env;
use std::fs;
use std::path::Path;

use almadia_harness::script::folder::check_folder;
use almadia_harness::script::{
    BadDirective, Family, Outcome, ScenarioCommands, parse, run, with_actual_outputs,
};

/// Every transcript is what happens.
#[test]
fn the_transcripts_are_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let is_blessed = env::var_os("ALMADIA_BLESS").is_some_and(|value| value == "1");
    let scripts = check_folder(&folder).expect("the folder can be read");
    assert!(scripts.len() >= 12, "there are {}", scripts.len());
    let mut differences = String::new();
    for script in scripts {
        let name = script.name();
        let text = fs::read_to_string(&script.path).expect("the file can be read");
        assert!(text.starts_with("# "), "{name} does not say what it shows");
        let directives = parse(&text).expect("a script");
        assert_eq!(Family::of(&directives), Family::Scenario, "{name}");
        if let Err(error) = &script.result {
            differences += &format!("\n{name}: {error}");
        }
        // What was blessed is right, unless it makes no sense.
        let wrong = script.differences().map(|judged| &judged.outcome);
        for outcome in wrong.filter(|outcome| !is_blessed || outcome.actual.is_err()) {
            differences += &format!("\n{name}:{}: {outcome}", outcome.line);
        }
        if is_blessed {
            let outcomes = script.result.into_iter().flatten();
            let outcomes: Vec<Outcome> = outcomes.map(|judged| judged.outcome).collect();
            let blessed = with_actual_outputs(&text, &outcomes).expect("a script");
            fs::write(&script.path, blessed).expect("the file can be written");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

fn outcomes(text: &str) -> Vec<Outcome> {
    run(text, &mut ScenarioCommands::default()).expect("a script")
}

/// What is written in place of a wrong expectation is right, and nothing else is touched.
#[test]
fn a_blessed_transcript_is_right() {
    let text = "# Kept.\ncluster 1\n----\n\ncampaign 1\n----\nwrong\nwrong\n\n\n# Kept, too.\n\
                vote 1\n----\nkept\n\nstatus\n----";
    let blessed = with_actual_outputs(text, &outcomes(text)).expect("a script");
    let passed = |text: &str| -> Vec<bool> {
        let outcomes = outcomes(text);
        outcomes.iter().map(Outcome::passed).collect()
    };
    assert_eq!(passed(text), [false; 4]);
    assert_eq!(passed(&blessed), [true, true, false, true]);
    assert!(!blessed.contains("wrong"));
    assert!(blessed.starts_with("# Kept.\ncluster 1\n----\nok\n\ncampaign 1\n----\n"));
    assert!(blessed.contains("\n\n\n# Kept, too.\nvote 1\n----\nkept\n\nstatus\n----\n"));
    assert_eq!(
        with_actual_outputs(&blessed, &outcomes(&blessed)),
        Ok(blessed)
    );
}

#[test]
fn what_makes_no_sense_is_no_directive() {
    let output = |line: &str| {
        let text = format!("cluster 3\n----\n\n{line}\n----\n");
        outcomes(&text).remove(1).actual
    };
    assert_eq!(
        outcomes("campaign 1\n----\n").remove(0).actual,
        Err(BadDirective::UnknownCommand("campaign".into()))
    );
    for line in [
        "cluster 3",
        "campaign",
        "campaign 4",
        "campaign 0",
        "change 1 promote=2",
        "change 1 transition=fast",
        "compact 1 2",
        "crash 1 kept=1",
        "cut from=1",
        "deliver to=4",
        "deliver too=1",
        "drop 1",
        "group-commit 1 on",
        "groups 1 1 1 1 1",
        "heal 1",
        "vote 1",
        "propose 1",
        "propose 1 a=b",
        "status 5",
        "tick 1 3 4",
        "tick 1 often",
        "transfer 1 to=5",
    ] {
        assert!(output(line).is_err(), "{line}");
    }
    for line in [
        "cluster",
        "cluster two",
        "cluster 1 leases=maybe",
        "cluster 3 prevote=false leeses=true",
    ] {
        assert!(
            outcomes(&format!("{line}\n----\n"))
                .remove(0)
                .actual
                .is_err()
        );
    }
}
