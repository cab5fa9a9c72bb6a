//! A command for each measurement of the list.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::{ALL, Entry, Needs};

/// A measurement of the list as a command, with its own options behind the arguments that all of them have.
#[derive(Debug)]
pub struct Listed<A> {
    /// The measurement.
    pub entry: &'static Entry,
    /// What all of them have.
    pub common: A,
    /// The options of this one, among others.
    pub options: ArgMatches,
}

/// The arguments that all measurements of a program have.
pub trait Common: Args {
    /// Whether the program has a measurement that needs this of prompts; those that it has may still be hidden in its help.
    fn has(needs: Needs) -> bool;

    /// Whether such a measurement stands in the help.
    fn shows(needs: Needs) -> bool {
        Self::has(needs)
    }
}

fn entries<A: Common>() -> impl Iterator<Item = &'static Entry> {
    ALL.iter().filter(|entry| A::has(entry.needs))
}

impl<A: Common> Subcommand for Listed<A> {
    fn augment_subcommands(command: Command) -> Command {
        entries::<A>().fold(command, |command, entry| {
            let options = (entry.add_options)(A::augment_args(Command::new(entry.name)));
            command.subcommand(options.about(entry.about).long_about(None).hide(!A::shows(entry.needs)))
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        entries::<A>().any(|entry| entry.name == name)
    }
}

impl<A: Common> FromArgMatches for Listed<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (name, options) = matches.subcommand().ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
        let entry = entries::<A>().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| clap::Error::new(ErrorKind::InvalidSubcommand))?;
        Ok(Self { entry, common: A::from_arg_matches(options)?, options: options.clone() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
