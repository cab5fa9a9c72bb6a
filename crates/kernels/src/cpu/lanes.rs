//! Products of matrices whose every element is a vector, one lane a sequence.

use std::ops::Range;

use pulp::Simd;

/// Some sequences that are computed with together, one a lane.
#[derive(Clone, Copy)]
pub(super) struct Lanes<S> {
    pub(super) simd: S,
    /// The sequence of the first lane.
    pub(super) first: usize,
    /// Sequences, at most as many as a vector has lanes.
    pub(super) count: usize,
}

impl<S: Simd> Lanes<S> {
    /// The sums become left · right, `[rows, columns]`, in tiles of 4 by 2 vectors that stay in registers. `reach(rows, columns)`
    /// says which columns of `left` matter to a tile; the others count as zero.
    #[inline(always)]
    pub(super) fn product(
        self,
        Sums { to, steps, go_on }: Sums<'_>,
        [rows, columns]: [usize; 2],
        left: Cells<'_>,
        right: Cells<'_>,
        reach: impl Fn(Range<usize>, Range<usize>) -> Range<usize>,
    ) {
        let mut row = 0;
        while row < rows {
            let height = [1, 1, 2, 2, 4][4.min(rows - row)];
            let mut column = 0;
            while column < columns {
                let width = 2.min(columns - column);
                let inner = reach(row..row + height, column..column + width);
                let out = Sums { to: &mut to[row * steps.row + column * steps.column..], steps, go_on };
                let (left, right) = (left.from(row * left.steps.row), right.from(column * right.steps.column));
                match (height, width) {
                    (4, 2) => self.tile::<4, 2>(out, inner, left, right),
                    (4, _) => self.tile::<4, 1>(out, inner, left, right),
                    (2, 2) => self.tile::<2, 2>(out, inner, left, right),
                    (2, _) => self.tile::<2, 1>(out, inner, left, right),
                    (_, 2) => self.tile::<1, 2>(out, inner, left, right),
                    (_, _) => self.tile::<1, 1>(out, inner, left, right),
                }
                column += width;
            }
            row += height;
        }
    }

    #[inline(always)]
    fn tile<const R: usize, const C: usize>(
        self,
        Sums { to, steps, go_on }: Sums<'_>,
        inner: Range<usize>,
        left: Cells<'_>,
        right: Cells<'_>,
    ) {
        let mut sums = [[self.simd.splat_f32s(0.0); R]; C];
        if go_on {
            for (c, sums) in sums.iter_mut().enumerate() {
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = self.load(to, r * steps.row + c * steps.column);
                }
            }
        }
        // Where each row and column begins is found before the loop, which has nothing to do but to load and to add.
        let (mut rows, mut columns) = ([left.data; R], [right.data; C]);
        for (r, row) in rows.iter_mut().enumerate() {
            *row = &left.data[r * left.steps.row..];
        }
        for (c, column) in columns.iter_mut().enumerate() {
            *column = &right.data[c * right.steps.column..];
        }
        for k in inner {
            let mut others = [self.simd.splat_f32s(0.0); R];
            for (other, row) in others.iter_mut().zip(&rows) {
                *other = self.load(row, k * left.steps.column);
            }
            for (sums, column) in sums.iter_mut().zip(&columns) {
                let factor = self.load(column, k * right.steps.row);
                for (sum, other) in sums.iter_mut().zip(&others) {
                    *sum = self.simd.mul_add_e_f32s(*other, factor, *sum);
                }
            }
        }
        for (c, sums) in sums.iter().enumerate() {
            for (r, sum) in sums.iter().enumerate() {
                self.store(to, r * steps.row + c * steps.column, *sum);
            }
        }
    }

    #[inline(always)]
    pub(super) fn load(self, data: &[f32], at: usize) -> S::f32s {
        S::as_simd_f32s(&data[at + self.first..][..S::F32_LANES]).0[0]
    }

    #[inline(always)]
    pub(super) fn store(self, data: &mut [f32], at: usize, value: S::f32s) {
        let to = &mut data[at + self.first..];
        if self.count == S::F32_LANES {
            S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0] = value;
        } else {
            self.simd.partial_store_f32s(&mut to[..self.count], value);
        }
    }
}

/// How far apart neighbours are in a matrix whose elements are the values of all sequences.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Steps {
    pub(super) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row }
    }
}

/// A matrix to read.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) data: &'a [f32],
    pub(super) steps: Steps,
}

impl Cells<'_> {
    #[inline(always)]
    pub(super) fn from(self, first: usize) -> Self {
        Self { data: &self.data[first..], ..self }
    }

    pub(super) fn transposed(self) -> Self {
        Self { steps: self.steps.transposed(), ..self }
    }
}

/// A matrix of sums, which begin at zero or go on from what they are.
pub(super) struct Sums<'a> {
    pub(super) to: &'a mut [f32],
    pub(super) steps: Steps,
    pub(super) go_on: bool,
}
