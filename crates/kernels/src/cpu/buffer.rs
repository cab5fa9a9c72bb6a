//! Memory that is kept from step to step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

thread_local! {
    /// Memory that is not in use, by how many elements there is room for.
    static FREE: RefCell<BTreeMap<usize, Vec<Vec<f32>>>> = RefCell::default();
}

/// A slice of f32 whose memory goes back to its thread when dropped; a new one holds whatever was left there.
///
/// A training step asks for the same lengths as the step before, so after the first one nothing is allocated, zeroed or
/// paged in. Where lengths differ, memory serves for anything down to half its length, and what is too short gives way to
/// what is long enough, so that no more is kept than was once in use together.
#[derive(Debug)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    pub(super) fn new(len: usize) -> Self {
        FREE.with_borrow_mut(|free| {
            if let Some(room) = free.range(len..=2 * len).next().map(|(room, _)| *room) {
                let mut memory = take(free, room);
                memory.resize(len, 0.0);
                return Self(memory);
            }
            if let Some(room) = free.range(len / 2..len).next_back().map(|(room, _)| *room) {
                take(free, room);
            }
            Self(vec![0.0; len])
        })
    }
}

fn take(free: &mut BTreeMap<usize, Vec<Vec<f32>>>, room: usize) -> Vec<f32> {
    let kept = free.get_mut(&room).expect("a key of the map");
    let memory = kept.pop().expect("no list is empty");
    if kept.is_empty() {
        free.remove(&room);
    }
    memory
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.0);
        // While a thread ends its store may be gone; then the memory is simply freed.
        let _ = FREE.try_with(|free| free.borrow_mut().entry(memory.capacity()).or_default().push(memory));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Vec<usize> {
        FREE.with_borrow(|free| free.iter().flat_map(|(room, kept)| vec![*room; kept.len()]).collect())
    }

    #[test]
    fn memory_is_used_again_and_no_more_is_kept_than_was_in_use_together() {
        FREE.take();
        drop([Buffer::new(100), Buffer::new(100)]);
        assert_eq!(kept(), [100, 100]);
        let short = Buffer::new(70);
        assert_eq!((short.len(), kept()), (70, vec![100]), "as long as was asked for, in memory of before");
        drop(short);
        assert_eq!(Buffer::new(90).len(), 90);
        drop(Buffer::new(120));
        assert_eq!(kept(), [100, 120], "one that was too short has gone");
        drop(Buffer::new(40));
        assert_eq!(kept(), [40, 100, 120], "the others are more than twice as long");
    }
}
