//! Which coordinates take part in each concept.

use serde::Deserialize;

use crate::{Basis, TaskError};

/// Which coordinates of w each concept switches on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bases {
    /// `count` blocks of `rank` neighbouring coordinates: 0…rank-1, rank…2·rank-1, and so on; or, when they share
    /// some with the next, each `rank - shared` further than the last.
    Blocks(Blocks),
    /// One list of coordinates a basis, in any order; bases may overlap.
    Coordinates(Vec<Vec<usize>>),
}

/// Size of [`Bases::Blocks`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocks {
    /// Number of bases.
    pub count: usize,
    /// Coordinates a basis.
    pub rank: usize,
    /// Coordinates that a basis has in common with the next, 0 … rank - 1; none when absent.
    pub shared: Option<usize>,
}

impl Bases {
    /// The bases, each checked against `d_x` coordinates.
    pub(crate) fn build(&self, d_x: usize) -> Result<Vec<Basis>, TaskError> {
        let lists = match self {
            Self::Blocks(blocks) => blocks.lists(d_x)?,
            Self::Coordinates(lists) => lists.clone(),
        };
        if lists.is_empty() {
            return Err(TaskError::out_of_range("task.bases.coordinates", "at least one basis", "empty"));
        }
        let mut bases: Vec<Basis> = Vec::with_capacity(lists.len());
        for (k, mut coordinates) in lists.into_iter().enumerate() {
            let field = format!("task.bases.coordinates[{k}]");
            if coordinates.is_empty() {
                return Err(TaskError::out_of_range(field, "a list of at least one coordinate", "empty"));
            }
            if let Some(outside) = coordinates.iter().find(|&&i| i >= d_x) {
                let range = format!("coordinates from 0 to task.d_x - 1 ({})", d_x - 1);
                return Err(TaskError::out_of_range(field, range, outside));
            }
            coordinates.sort_unstable();
            if let Some(pair) = coordinates.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(TaskError::out_of_range(
                    field,
                    "without repeated coordinates",
                    format!("twice {}", pair[0]),
                ));
            }
            let basis = Basis::from_sorted(coordinates);
            if let Some(twin) = bases.iter().position(|other| *other == basis) {
                return Err(TaskError::out_of_range(
                    field,
                    "unlike every other basis",
                    format!("the same as [{twin}]"),
                ));
            }
            bases.push(basis);
        }
        Ok(bases)
    }
}

impl Blocks {
    fn lists(self, d_x: usize) -> Result<Vec<Vec<usize>>, TaskError> {
        if !(1..=d_x).contains(&self.rank) {
            let range = format!("between 1 and task.d_x ({d_x})");
            return Err(TaskError::out_of_range("task.bases.blocks.rank", range, self.rank));
        }
        let shared = self.shared.unwrap_or(0);
        if shared >= self.rank {
            let range = format!("between 0 and rank - 1 ({})", self.rank - 1);
            return Err(TaskError::out_of_range("task.bases.blocks.shared", range, shared));
        }
        let stride = self.rank - shared;
        let most = (d_x - shared) / stride;
        if !(1..=most).contains(&self.count) {
            let range = format!("between 1 and the number that fit into task.d_x ({most})");
            return Err(TaskError::out_of_range("task.bases.blocks.count", range, self.count));
        }
        Ok((0..self.count).map(|k| (k * stride..k * stride + self.rank).collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_share_as_many_coordinates_as_they_say() {
        let lists = |count, shared| Blocks { count, rank: 3, shared }.lists(7).unwrap();
        assert_eq!(lists(2, None), [[0, 1, 2], [3, 4, 5]]);
        assert_eq!(lists(2, Some(0)), lists(2, None));
        assert_eq!(lists(3, Some(1)), [[0, 1, 2], [2, 3, 4], [4, 5, 6]]);
        assert_eq!(lists(5, Some(2))[4], [4, 5, 6]);
    }
}
