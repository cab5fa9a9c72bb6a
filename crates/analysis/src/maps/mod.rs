//! Hidden states in a plane.

mod pca;

pub use pca::{Plane, plane};
