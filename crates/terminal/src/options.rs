//! What is typed behind a program's name.

use std::ffi::OsString;

use clap::{Command, Parser};

/// Reads a program's `words`, its name the first of them; ends the program where they say nothing that it knows. An option
/// takes a word such as -1 for its value, so that whoever reads it says what is allowed.
pub fn parse<C: Parser>(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> C {
    let matches = with_negative_numbers(C::command()).get_matches_from(words);
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn with_negative_numbers(command: Command) -> Command {
    let values = |arg: &clap::Arg| !arg.is_positional() && arg.get_action().takes_values();
    let command = command.mut_args(|arg| if values(&arg) { arg.allow_negative_numbers(true) } else { arg });
    command.mut_subcommands(with_negative_numbers)
}

/// Reads an option that is a whole number from `least` to `most`, or on and on, or says so; a `value_parser` of clap.
///
/// ```
/// let jobs = terminal::whole::<u16>(1, Some(1024));
/// assert_eq!(jobs("8"), Ok(8));
/// assert_eq!(jobs("0").unwrap_err(), "it must be a whole number from 1 to 1024");
/// assert_eq!(terminal::whole::<usize>(0, None)("last").unwrap_err(), "it must be a whole number from 0 on");
/// ```
pub fn whole<T: TryFrom<u64>>(least: u64, most: Option<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|&number| number >= least && most.is_none_or(|most| number <= most));
        let end = most.map_or("on".to_owned(), |most| format!("to {most}"));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("it must be a whole number from {least} {end}"))
    }
}
