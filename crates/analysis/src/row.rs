//! What every row type of a table has.

/// Names a row type's file and the step it belongs to.
macro_rules! row {
    ($row:ty, $file:literal, |$r:ident| $step:expr) => {
        impl record::Row for $row {
            const FILE: &'static str = $file;
            fn step(&self) -> Option<usize> {
                let $r = self;
                $step
            }
        }
    };
}
pub(crate) use row;
