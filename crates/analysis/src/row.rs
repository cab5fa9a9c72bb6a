//! What every row type of a table has.

/// Names a row type's file and the step it belongs to, and what checks its numbers.
macro_rules! row {
    ($row:ty, $file:literal, |$r:ident| $step:expr $(, $check:expr)?) => {
        impl record::Row for $row {
            const FILE: &'static str = $file;
            fn step(&self) -> Option<usize> {
                let $r = self;
                $step
            }
            $(fn check(&self) -> Result<(), String> {
                $check(self)
            })?
        }
    };
}
pub(crate) use row;

/// Nothing, if every value is a share, or not a number: a mean over nothing.
pub(crate) fn check_shares(columns: &[(&str, f64)]) -> Result<(), String> {
    match columns.iter().find(|(_, value)| !value.is_nan() && !(0.0..=1.0).contains(value)) {
        Some((column, value)) => Err(format!("{column} must be between 0 and 1, but is {value}")),
        None => Ok(()),
    }
}
