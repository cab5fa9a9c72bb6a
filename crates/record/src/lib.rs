//! Files that are whole or absent, tables whose columns are checked, and what a folder says of itself: who may write
//! there, what it was made from and by what. Nothing here knows what is measured.
//!
//! A [`Folder`] holds [`Table`]s of [`Row`]s, figures and files. Its [`Seal`] says with which values it was made, and
//! [`Made`] which program and options made each table. [`faults`] let any change to the disk fail in a test.
//!
//! ```
//! use record::{Folder, Row};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! struct Length {
//!     step: usize,
//!     metres: f64,
//! }
//!
//! impl Row for Length {
//!     const FILE: &'static str = "lengths.csv";
//!     fn step(&self) -> Option<usize> {
//!         Some(self.step)
//!     }
//! }
//!
//! let place = tempfile::tempdir().unwrap();
//! let table = Folder::create(place.path()).unwrap().table::<Length>();
//! table.append(&[Length { step: 0, metres: 1.5 }, Length { step: 10, metres: 2.0 }]).unwrap();
//! table.truncate_after(5).unwrap();
//! assert_eq!(table.read().unwrap(), [Length { step: 0, metres: 1.5 }]);
//! assert_eq!(std::fs::read_to_string(table.path()).unwrap(), "step,metres\n0,1.5\n");
//! ```

mod cells;
mod columns;
mod disk;
mod error;
mod events;
pub mod faults;
mod files;
mod folder;
mod holder;
mod lock;
mod made;
mod npz;
mod older;
mod output;
mod parts;
mod seal;
mod table;

pub use cells::Cells;
pub use error::RecordError;
pub use events::{Scalars, write_events};
pub use files::{
    check_writable, leave, remove_empty_folder, remove_file, remove_folder, rename, write_folder, write_through,
    write_together, write_whole,
};
pub use folder::{Folder, REPORT};
pub use holder::Holder;
pub use lock::Lock;
pub use made::{COMMIT, Made, Maker};
pub use npz::{Npz, Number};
pub use older::Older;
pub use output::{Output, check_folder, check_outside_runs, run_around};
pub use parts::{Parts, remove_unfinished};
pub use seal::{FieldChange, Seal, hex, leaves};
pub use table::{AnyTable, Row, Table, has_rows};
