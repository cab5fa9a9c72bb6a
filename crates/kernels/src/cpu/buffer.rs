//! Memory that is kept from step to step.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

thread_local! {
    /// Buffers that are not in use, by their length.
    static FREE: RefCell<HashMap<usize, Vec<Vec<f32>>>> = RefCell::default();
}

/// A slice of f32 whose memory goes back to its thread when dropped; a new one holds whatever was left there.
///
/// A training step asks for the same lengths as the step before, so after the first one nothing is allocated, zeroed
/// or paged in.
#[derive(Debug)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    pub(super) fn new(len: usize) -> Self {
        let kept = FREE.with_borrow_mut(|free| free.get_mut(&len).and_then(Vec::pop));
        Self(kept.unwrap_or_else(|| vec![0.0; len]))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.0);
        // While a thread ends its store may be gone; then the memory is simply freed.
        let _ = FREE.try_with(|free| free.borrow_mut().entry(values.len()).or_default().push(values));
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}
