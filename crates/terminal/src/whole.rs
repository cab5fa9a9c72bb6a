//! Whole numbers in options.

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
