//! Scripts: those of etcd/raft against the core, and the runner against scripts of its own.
//!
//! Owns where the scripts are looked for. They are somebody else's and no part of the project:
//! where they are not at hand, nothing is checked, and the test says so.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use almadia::quorum::VoteResult;
use almadia::{LogIndex, NodeId};
use almadia_harness::script::folder::{Totals, check_folder, known_to_differ};
use almadia_harness::script::{
    Acknowledged, Arithmetic, BadDirective, Commands, ConfChangeCommands, Directive, Outcome,
    ParseError, QuorumCommands, parse, run,
};

// --- The scripts of etcd/raft ---

/// The folder of a family of scripts, if it is at hand.
fn folder(family: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = workspace.join("../shared/scripts").join(family);
    let is_there = folder.is_dir();
    if !is_there {
        // Past what is held back of a test that passes: nobody is to take this for a test.
        let skipped = format!("{family}: skipped, because ../shared/scripts/{family} is not there");
        writeln!(io::stderr(), "{skipped}").expect("somebody reads on");
    }
    is_there.then_some(folder)
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("the entry can be read").path());
    let is_script = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "txt");
    let mut files: Vec<PathBuf> = paths.filter(is_script).collect();
    files.sort();
    files
}

/// Runs all files of a family, each from the start, and fails with all that did not pass.
fn run_family<C: Commands + Default>(family: &str) {
    let Some(folder) = folder(family) else { return };
    let mut passed = 0;
    let mut failures = String::new();
    let files = files(&folder);
    for path in &files {
        let name = path.display();
        let text = fs::read_to_string(path).expect("the file can be read");
        match run(&text, &mut C::default()) {
            Ok(outcomes) => {
                for outcome in outcomes {
                    if outcome.passed() {
                        passed += 1;
                    } else {
                        failures += &format!("\n{name}:{}: {outcome}", outcome.line);
                    }
                }
            }
            Err(error) => failures += &format!("\n{name}: {error}"),
        }
    }
    println!(
        "{family}: {passed} directives of {} files passed",
        files.len()
    );
    assert!(failures.is_empty(), "{failures}");
    assert!(passed > 0, "{family}: there is nothing in the folder");
}

#[test]
fn the_quorum_scripts_pass() {
    run_family::<QuorumCommands>("quorum");
}

#[test]
fn the_confchange_scripts_pass() {
    run_family::<ConfChangeCommands>("confchange");
}

/// How many directives of the interaction scripts have the whole output that etcd/raft's nodes have.
/// It may only grow.
const EQUAL_TRANSCRIPTS: usize = 284;

/// A script whose state differs is explained in the document, and one that is explained there
/// differs.
#[test]
fn the_interaction_scripts_agree_in_state_or_are_explained() {
    let Some(folder) = folder("interaction") else {
        return;
    };
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deviations.md");
    let document = fs::read_to_string(document).expect("the document can be read");
    let explained = known_to_differ(&document);
    assert!(!explained.is_empty(), "the list is found");

    let checked = check_folder(&folder).expect("the folder can be read");
    let differing: BTreeSet<String> = checked
        .iter()
        .filter(|script| !script.passed())
        .map(|script| {
            println!("{script}");
            script.name()
        })
        .collect();
    assert_eq!(differing, explained);

    let totals = Totals::of(&checked);
    println!("interaction: {totals}");
    assert!(totals.equal >= EQUAL_TRANSCRIPTS, "{totals}");
}

// --- The grammar ---

/// The only directive of a text.
fn only(text: &str) -> Directive {
    let mut directives = parse(text).expect("a script");
    assert_eq!(directives.len(), 1, "{directives:?}");
    directives.remove(0)
}

/// The arguments of a directive's line.
fn arguments(line: &str) -> Vec<(String, Vec<String>)> {
    let directive = only(&format!("{line}\n----\n"));
    let arguments = directive.arguments.into_iter();
    arguments
        .map(|argument| (argument.key, argument.values))
        .collect()
}

#[test]
fn a_directive_has_a_command_an_input_and_an_output() {
    let text =
        "# Not this.\n\n  greet  # this\n  Ann \n\n Bob\n----\nHello,\n  Ann\n \n# Nor this.\n";
    let expected = Directive {
        line: 3,
        command: "greet".into(),
        arguments: only("greet # this\n----\n").arguments,
        input: "Ann \n\n Bob".into(),
        expected: "Hello,\n  Ann\n".into(),
        expected_lines: 7..9,
    };
    assert_eq!(parse(text), Ok(vec![expected]));
    assert_eq!(parse("\n# Nothing at all.\n"), Ok(vec![]));
}

#[test]
fn an_argument_has_no_value_one_or_several() {
    let no_value = |key: &str| (key.to_owned(), vec![]);
    let values = |key: &str, values: &[&str]| {
        (
            key.to_owned(),
            values
                .iter()
                .map(|&value| value.to_owned())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(arguments("c"), []);
    assert_eq!(arguments("c a 1 \"b\""), ["a", "1", "\"b\""].map(no_value));
    assert_eq!(
        arguments("c a=x  b= d=y=z"),
        [
            values("a", &["x"]),
            values("b", &[""]),
            values("d", &["y=z"])
        ]
    );
    assert_eq!(
        arguments("c a=(x) b=(x,  y,z) d=() e=(,)"),
        [
            values("a", &["x"]),
            values("b", &["x", "y", "z"]),
            values("d", &[""]),
            values("e", &["", ""]),
        ]
    );
    assert_eq!(
        arguments("c a=(f(x, (y)), g (z)) b"),
        [values("a", &["f(x, (y))", "g (z)"]), no_value("b")]
    );
}

#[test]
fn a_backslash_continues_a_directive() {
    let directive = only("c a \\\n   b=(1, \\\n 2)\ninput \\\n----\noutput \\\n");
    assert_eq!(
        directive,
        Directive {
            line: 1,
            arguments: only("c a b=(1, 2)\n----\n").arguments,
            expected_lines: 5..6,
            ..only("c\ninput \\\n----\noutput \\\n")
        }
    );
}

#[test]
fn an_output_ends_at_a_blank_line_unless_it_is_closed() {
    let directives = parse("a\n----\n\nb\n----\n1\n2").expect("a script");
    let expected: Vec<&str> = directives
        .iter()
        .map(|directive| &*directive.expected)
        .collect();
    assert_eq!(expected, ["", "1\n2\n"]);
    let lines: Vec<usize> = directives.iter().map(|directive| directive.line).collect();
    assert_eq!(lines, [1, 4]);

    let closed = parse("a\n----\n----\n\n1\n----\n\n----\n----\n\nb\n----\n").expect("a script");
    assert_eq!(closed.len(), 2);
    assert_eq!(closed[0].expected, "\n1\n----\n\n");
}

#[test]
fn what_is_no_script_is_refused_with_its_line() {
    let malformed = |line, column, text: &str| {
        Err(ParseError::Malformed {
            line,
            column,
            text: text.into(),
        })
    };
    assert_eq!(parse("c =x\n----\n"), malformed(1, 3, "c =x"));
    assert_eq!(
        parse("\nc a=(x, (y)\n----\n"),
        malformed(2, 9, "c a=(x, (y)")
    );
    assert_eq!(
        parse("# c\nc\ninput\n"),
        Err(ParseError::NoSeparator { line: 2 })
    );
    assert_eq!(
        parse("c\n----\n----\nx\n----\n"),
        Err(ParseError::Unclosed { line: 1 })
    );
}

// --- The runner ---

fn outcomes<C: Commands + Default>(text: &str) -> Vec<Outcome> {
    run(text, &mut C::default()).expect("a script")
}

/// The output of the last directive of a script of which only that matters.
fn last<C: Commands + Default>(text: &str) -> String {
    let last = outcomes::<C>(text).pop().expect("a directive");
    last.actual.expect("a directive that makes sense")
}

fn quorum(line: &str) -> String {
    last::<QuorumCommands>(&format!("{line}\n----\n"))
}

/// The last output after these commands, each with its input behind a colon.
fn conf_change(commands: &[&str]) -> String {
    let directives = commands
        .iter()
        .map(|command| command.replacen(": ", "\n", 1) + "\n----\n\n");
    last::<ConfChangeCommands>(&directives.collect::<String>())
}

#[test]
fn a_wrong_expectation_is_reported_and_the_others_are_not() {
    let text = "vote cfg=(1) votes=(y)\n----\nVoteWon\n\n\
                vote cfg=(1) votes=(n)\n----\nVoteWon\n\n\
                vote cfg=(1) votes=(_)\n----\nVotePending \n\n\
                vote cfg=(1) votes=(n)\n----\nVoteLost\n";
    let outcomes = outcomes::<QuorumCommands>(text);
    let passed: Vec<bool> = outcomes.iter().map(Outcome::passed).collect();
    assert_eq!(passed, [true, false, false, true]);
    assert_eq!(outcomes[1].line, 5);
    assert_eq!(
        outcomes[1].to_string(),
        "vote\nexpected:\nVoteWon\nactual:\nVoteLost\n"
    );
}

#[test]
fn a_configuration_is_carried_on_and_a_wrong_one_is_reported() {
    let text = "simple\nv1\n----\nvoters=(1)\n1: StateProbe match=0 next=1\n\n\
                simple\nv2\n----\nvoters=(1 2)\n1: StateProbe match=0 next=1\n";
    let outcomes = outcomes::<ConfChangeCommands>(text);
    let passed: Vec<bool> = outcomes.iter().map(Outcome::passed).collect();
    assert_eq!(passed, [true, false]);
}

#[test]
fn a_directive_without_sense_never_passes() {
    let wrong = [
        ("elect", BadDirective::UnknownCommand("elect".into())),
        ("vote who=1", BadDirective::UnknownArgument("who".into())),
    ];
    for (line, error) in wrong {
        let outcome = &outcomes::<QuorumCommands>(&format!("{line}\n----\n{error}\n"))[0];
        assert_eq!(outcome.actual, Err(error));
        assert!(!outcome.passed());
        assert!(outcome.to_string().contains("the directive is wrong"));
    }
    let values = [
        "cfg=0",
        "cfg=+1",
        "cfg=",
        "cfgj=(zero,1)",
        "idx=0",
        "idx=y",
        "votes=1",
    ];
    for value in values {
        let outcome = &outcomes::<QuorumCommands>(&format!("vote {value}\n----\n"))[0];
        assert!(
            matches!(outcome.actual, Err(BadDirective::BadValue { .. })),
            "{value}"
        );
    }
    for line in [
        "enter-joint leave=true",
        "enter-joint autoleave",
        "enter-joint autoleave=maybe",
    ] {
        let outcome = &outcomes::<ConfChangeCommands>(&format!("{line}\n----\n"))[0];
        assert!(outcome.actual.is_err(), "{line}");
    }
}

// --- Quorums ---

#[test]
fn voices_belong_to_voters_in_the_order_of_their_first_naming() {
    assert_eq!(
        quorum("committed cfg=(20, 3) cfgj=(3, 1) idx=(7, 8, _)"),
        "       idx\n?        0    (id=1)\nxx>      8    (id=3)\nx>       7    (id=14)\n0\n"
    );
    assert_eq!(
        quorum("committed cfg=(20, 3) cfgj=(3, 20) idx=(7, 100000)"),
        "      idx\nx>  100000    (id=3)\n>       7    (id=14)\n7\n"
    );
}

#[test]
fn nobody_commits_everything_and_wins_every_vote() {
    assert_eq!(quorum("committed cfgj=zero"), "<empty majority quorum>∞\n");
    assert_eq!(quorum("vote"), "VoteWon\n");
    assert_eq!(
        quorum("committed cfg=2 cfgj=zero idx=9"),
        "     idx\n>      9    (id=2)\n9\n"
    );
}

#[test]
fn a_missing_or_additional_word_is_told() {
    assert_eq!(
        quorum("committed cfg=(2,1) cfgj=2 idx=12"),
        "error: mismatched input (explicit or _) for voters map[1:{} 2:{}]: [12]\n"
    );
    assert_eq!(
        quorum("vote votes=(y,n,_)"),
        "error: mismatched input (explicit or _) for voters map[]: [2 1 0]\n"
    );
}

#[test]
fn the_cross_checks_tell_what_is_wrong_with_an_arithmetic() {
    fn highest(voters: &[NodeId], acknowledged: &Acknowledged) -> Option<LogIndex> {
        let indexes = voters.iter().map(|voter| acknowledged.get(voter));
        indexes
            .map(|index| index.copied().unwrap_or_default())
            .max()
    }
    fn sum(voters: &[NodeId], acknowledged: &Acknowledged) -> Option<LogIndex> {
        let indexes = voters.iter().map(|voter| acknowledged.get(voter));
        Some(LogIndex(
            indexes
                .map(|index| index.copied().unwrap_or_default().0)
                .sum(),
        ))
    }
    let output = |arithmetic, line: &str| {
        let mut commands = QuorumCommands::with_arithmetic(arithmetic);
        let outcome = run(&format!("{line}\n----\n"), &mut commands)
            .expect("a script")
            .remove(0);
        let actual = outcome.actual.expect("a directive that makes sense");
        let drawn = |line: &&str| line.ends_with("idx") || line.contains("(id=");
        actual
            .lines()
            .filter(|line| !drawn(line))
            .map(|line| line.to_owned() + "\n")
            .collect()
    };
    let highest_wins = Arithmetic {
        majority_index: highest,
        ..Arithmetic::default()
    };
    let told: String = output(highest_wins, "committed cfg=(1,2,3) idx=(3,5,7)");
    assert_eq!(
        told,
        "5 <-- via alternative computation\n5 <-- via zero-joint quorum\n\
         5 <-- via self-joint quorum\n7\n"
    );
    let sum_wins = Arithmetic {
        majority_index: sum,
        joint_index: |incoming, _, acknowledged| sum(incoming, acknowledged),
        joint_vote: |incoming, _, _| match incoming.len() {
            1 => VoteResult::Won,
            _ => VoteResult::Lost,
        },
        ..Arithmetic::default()
    };
    let told: String = output(sum_wins, "committed cfg=(1,2) idx=(3,5)");
    assert_eq!(
        told,
        "3 <-- via alternative computation\n7 <-- overlaying 1->35 <-- overlaying 1->0\
         7 <-- overlaying 2->53 <-- overlaying 2->08\n"
    );
    let told: String = output(sum_wins, "committed cfg=(1,2) cfgj=(2) idx=(3,5)");
    assert_eq!(told, "5 <-- via symmetry\n8\n");
    let told: String = output(sum_wins, "vote cfg=(1,2) cfgj=(2) votes=(y,y)");
    assert_eq!(told, "VoteWon <-- via symmetry\nVoteLost\n");
}

// --- Changes of membership ---

#[test]
fn a_refused_change_is_told_in_the_words_of_etcd_and_changes_nothing() {
    let refused = [
        (vec!["simple"], "removed all voters\n"),
        (vec!["simple: v0 u1"], "removed all voters\n"),
        (
            vec!["simple: v1 v2"],
            "more than one voter changed without entering joint config\n",
        ),
        (
            vec!["simple: v1", "simple: r1 v2"],
            "more than one voter changed without entering joint config\n",
        ),
        (vec!["simple: v1", "simple: l1"], "removed all voters\n"),
        (
            vec!["enter-joint: v1"],
            "can't make a zero-voter config joint\n",
        ),
        (
            vec!["simple: v1", "enter-joint: r1"],
            "removed all voters\n",
        ),
        (
            vec!["simple: v1", "enter-joint", "enter-joint"],
            "config is already joint\n",
        ),
        (
            vec!["simple: v1", "enter-joint", "simple"],
            "can't apply simple config change in joint config\n",
        ),
        (vec!["leave-joint"], "can't leave a non-joint config\n"),
        (vec!["leave-joint: u1"], "this command takes no input\n"),
        (vec!["simple: v"], "unknown token v\n"),
        (vec!["simple: v1  v2"], "unknown token \n"),
        (vec!["simple: x1"], "unknown input: x1\n"),
        (
            vec!["simple: v-1"],
            "strconv.ParseUint: parsing \"-1\": invalid syntax\n",
        ),
        (
            vec!["simple: v99999999999999999999"],
            "strconv.ParseUint: parsing \"99999999999999999999\": value out of range\n",
        ),
        (vec!["double: v1"], "unknown command\n"),
    ];
    for (commands, words) in refused {
        assert_eq!(conf_change(&commands), words, "{commands:?}");
        let mut later = commands.clone();
        later.extend(["simple: v77", "leave-joint"]);
        let mut without = commands[..commands.len() - 1].to_vec();
        without.extend(["simple: v0", "simple: v77", "leave-joint"]);
        assert_eq!(conf_change(&later), conf_change(&without), "{commands:?}");
    }
}

#[test]
fn a_change_of_nothing_is_one_too() {
    let words = "voters=(1)\n1: StateProbe match=0 next=1\n";
    assert_eq!(conf_change(&["simple: v1", "simple"]), words);
    assert_eq!(
        conf_change(&["simple: v1", "simple: v0 r0 l0 u1 u0"]),
        words
    );
}

#[test]
fn a_member_keeps_its_next_index_until_it_leaves() {
    assert_eq!(
        conf_change(&["simple: v1", "simple", "simple: l31", "simple: r1 v1 v31"]),
        "voters=(1 1f)\n1: StateProbe match=0 next=3\n31: StateProbe match=0 next=2\n"
    );
    let entered = [
        "simple: v1",
        "simple: v2",
        "simple",
        "enter-joint autoleave=t: r1 r2 l2 v3 l4 r4",
    ];
    assert_eq!(
        conf_change(&entered),
        "voters=(3)&&(1 2) learners_next=(2) autoleave\n1: StateProbe match=0 next=1\n\
         2: StateProbe match=0 next=1\n3: StateProbe match=0 next=3\n"
    );
    let left = [&entered[..], &["leave-joint"]].concat();
    assert_eq!(
        conf_change(&left),
        "voters=(3) learners=(2)\n2: StateProbe match=0 next=1 learner\n\
         3: StateProbe match=0 next=3\n"
    );
}
