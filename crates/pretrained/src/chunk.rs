//! Sequences that go through a layer together, one behind the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use burn::tensor::{Int, Tensor, TensorData};
use kernels::{Kernels, Span};

use crate::passes::{Member, RowAt, StateChange};

/// Some sequences and their branches, with the residual stream behind the layers so far.
pub(crate) struct Chunk<B: Kernels> {
    pub(crate) h: Tensor<B, 2>,
    pub(crate) spans: Vec<Span>,
    /// First row of a member, and its first position there.
    rows: BTreeMap<Member, (usize, usize)>,
    /// The rows that `h` still has, if not all, in their order.
    kept: Option<Vec<usize>>,
}

/// Which sequences go together, by their lengths: chunks of `most` rows or some fewer, as many for every thread, as equal
/// as whole sequences can be.
pub(crate) fn shares(lengths: &[usize], most: usize, threads: usize) -> Vec<Vec<usize>> {
    /// Numbers of chunks that are tried.
    const WAYS: usize = 4;
    let rows: usize = lengths.iter().sum();
    let fewest = rows.div_ceil(most).next_multiple_of(threads);
    let mut longest_first: Vec<usize> = (0..lengths.len()).collect();
    longest_first.sort_by_key(|&sequence| Reverse(lengths[sequence]));
    let in_parts = |count: usize| {
        let mut shares = vec![Vec::new(); count.min(lengths.len())];
        let mut emptiest: BinaryHeap<_> = (0..shares.len()).map(|share| Reverse((0, share))).collect();
        let mut fullest = 0;
        for &sequence in &longest_first {
            let Reverse((rows, share)) = emptiest.pop().expect("a sequence has a share");
            shares[share].push(sequence);
            emptiest.push(Reverse((rows + lengths[sequence], share)));
            fullest = fullest.max(rows + lengths[sequence]);
        }
        // The time that all threads take together, in rows.
        (fullest * shares.len(), shares)
    };
    let ways = (0..WAYS).map(|more| in_parts(fewest + more * threads));
    ways.min_by_key(|(time, _)| *time).map(|(_, shares)| shares).expect("there is a way")
}

impl<B: Kernels> Chunk<B> {
    /// Members have still to be added.
    pub(crate) fn new(h: Tensor<B, 2>) -> Self {
        Self { h, spans: Vec::new(), rows: BTreeMap::new(), kept: None }
    }

    pub(crate) fn add(&mut self, member: Member, span: Span) {
        self.rows.insert(member, (span.start, span.before()));
        self.spans.push(span);
    }

    pub(crate) fn has(&self, member: Member) -> bool {
        self.rows.contains_key(&member)
    }

    /// The row at a place; none where it is not of this chunk.
    pub(crate) fn row(&self, place: RowAt) -> Option<usize> {
        let (start, first) = self.rows.get(&place.of)?;
        let row = start + place.position - first;
        match &self.kept {
            Some(kept) => Some(kept.binary_search(&row).expect("every row that is asked for is kept")),
            None => Some(row),
        }
    }

    /// From now on there are only the rows at some places, if they are of this chunk; which of those there were until now.
    pub(crate) fn keep_only(&mut self, places: impl Iterator<Item = RowAt>) -> Tensor<B, 1, Int> {
        let mut rows: Vec<usize> = places.filter_map(|place| self.row(place)).collect();
        rows.sort_unstable();
        rows.dedup();
        // A tensor has a row at least.
        if rows.is_empty() {
            rows.push(0);
        }
        let index = index(&rows, &self.h);
        self.kept = Some(rows);
        index
    }

    /// Copies the rows of a sequence from a position on, as a branch of it.
    pub(crate) fn branch(&mut self, number: usize, parent: usize, from: usize, len: usize) {
        let (start, _) = self.rows[&Member::Sequence(parent)];
        let [rows, _] = self.h.dims();
        let copied = self.h.clone().narrow(0, start + from, len);
        self.h = Tensor::cat(vec![self.h.clone(), copied], 0);
        self.add(Member::Branch(number), Span { start: rows, len, from: Some((start, from)) });
    }

    /// Changes some rows.
    pub(crate) fn change<'a>(&mut self, changes: impl Iterator<Item = (RowAt, &'a StateChange)>) {
        let [_, d] = self.h.dims();
        let device = self.h.device();
        for (place, change) in changes {
            let row = self.row(place).expect("the branch is of this chunk");
            let vector = Tensor::<B, 2>::from_data(TensorData::new(change.vector.to_vec(), [1, d]), &device);
            let now = if change.replaces { vector } else { self.h.clone().narrow(0, row, 1) + vector };
            self.h = self.h.clone().slice_assign([row..row + 1, 0..d], now);
        }
    }

    /// Some rows of `values`, whose rows are those of this chunk: the numbers of the places that are here, and their values,
    /// behind each other.
    pub(crate) fn select(&self, places: &[RowAt], values: impl FnOnce() -> Tensor<B, 2>) -> (Vec<usize>, Vec<f32>) {
        let here = places.iter().enumerate().filter_map(|(to, place)| Some((to, self.row(*place)?)));
        let (to, rows): (Vec<usize>, Vec<usize>) = here.unzip();
        if rows.is_empty() {
            return (to, Vec::new());
        }
        let values = values().select(0, index(&rows, &self.h));
        (to, values.into_data().to_vec().expect("states are f32"))
    }
}

fn index<B: Kernels>(rows: &[usize], beside: &Tensor<B, 2>) -> Tensor<B, 1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), &beside.device())
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn chunks_are_as_equal_as_whole_sequences_can_be() {
        let lengths = [10, 40, 10, 20, 30, 10];
        let rows = |most, threads| -> Vec<usize> {
            let shares = shares(&lengths, most, threads);
            let mut all = shares.concat();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4, 5], "every sequence is in one chunk");
            shares.iter().map(|share| share.iter().map(|&sequence| lengths[sequence]).sum()).collect()
        };
        assert_eq!(rows(120, 1), [120]);
        assert_eq!(rows(120, 2), [60, 60]);
        // More equal than two chunks of 50 and 70 rows would be.
        assert_eq!(rows(50, 1), [40, 40, 40]);
        assert_eq!(rows(35, 2), [40, 30, 30, 20]);
        // No chunk is empty, however many threads there are.
        assert_eq!(rows(1, 64), [40, 30, 20, 10, 10, 10]);
        assert!(shares(&[], 50, 2).is_empty());
    }
}
