//! The families of scripts: which one a script belongs to, who runs it, and what of an output has to
//! be right.
//!
//! Owns the list of families. Must not know where scripts come from.

use super::interaction::compare::{state_in, without_log};
use super::{
    Commands, ConfChangeCommands, Directive, InteractionCommands, Outcome, ParseError,
    QuorumCommands, ScenarioCommands, parse, run,
};

/// A family of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Majorities and votes: [`QuorumCommands`].
    Quorum,
    /// Changes of membership: [`ConfChangeCommands`].
    ConfChange,
    /// Conversations of nodes: [`InteractionCommands`].
    Interaction,
    /// This project's own transcripts: [`ScenarioCommands`].
    Scenario,
}

/// How much of an output has to be the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// In a conversation of nodes what is shown of logs, roles and progress, and every error.
    State,
    /// All of it.
    Transcript,
}

impl Family {
    /// The family of a script, told by its first command that belongs to one alone.
    #[must_use]
    pub fn of(directives: &[Directive]) -> Self {
        let own = |directive: &Directive| match directive.command.as_str() {
            "committed" | "vote" => Some(Self::Quorum),
            "cluster" => Some(Self::Scenario),
            "simple" | "enter-joint" | "leave-joint" => Some(Self::ConfChange),
            _ => None,
        };
        let told = directives.iter().find_map(own);
        told.unwrap_or(Self::Interaction)
    }

    /// Runs the text of a whole file.
    ///
    /// # Errors
    ///
    /// If the text is no script.
    pub fn run(text: &str) -> Result<(Self, Vec<Outcome>), ParseError> {
        fn fresh<C: Commands + Default>(text: &str) -> Result<Vec<Outcome>, ParseError> {
            run(text, &mut C::default())
        }
        let family = Self::of(&parse(text)?);
        let outcomes = match family {
            Self::Quorum => fresh::<QuorumCommands>(text),
            Self::ConfChange => fresh::<ConfChangeCommands>(text),
            Self::Interaction => fresh::<InteractionCommands>(text),
            Self::Scenario => fresh::<ScenarioCommands>(text),
        };
        Ok((family, outcomes?))
    }

    /// Whether an output is the expected one, as far as that is asked for.
    #[must_use]
    pub fn agrees(self, outcome: &Outcome, strength: Strength) -> bool {
        let Ok(actual) = &outcome.actual else {
            return false;
        };
        let part = |text: &str| match (self, strength) {
            (Self::Quorum | Self::ConfChange | Self::Scenario, _) => text.to_owned(),
            (Self::Interaction, Strength::State) => state_in(&outcome.command, text),
            (Self::Interaction, Strength::Transcript) => without_log(text),
        };
        part(actual) == part(&outcome.expected)
    }
}
