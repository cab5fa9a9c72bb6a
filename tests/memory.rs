//! How much memory a piece of work takes at most, so that a test can see when a file asks for more than there is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has taken and not given back; below 0 where it gave back what another took.
    static TAKEN: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The system's memory, counted.
struct Counted;

#[global_allocator]
static COUNTED: Counted = Counted;

/// What `work` gives, and how many bytes it takes at most on this thread.
pub(crate) fn most_memory<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = TAKEN.get();
    MOST.set(before);
    let result = work();
    (result, (MOST.get() - before).unsigned_abs())
}

fn count(bytes: isize) {
    // A thread that ends has nothing to count with any more.
    let _ = TAKEN.try_with(|taken| {
        taken.set(taken.get() + bytes);
        MOST.with(|most| most.set(most.get().max(taken.get())));
    });
}

#[allow(unsafe_code, reason = "memory is handed out by nothing else")]
// SAFETY: everything is done by the system's own allocator, and counted beside that.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(place, layout) };
    }
}

#[test]
fn memory_is_counted_at_its_peak() {
    let (sum, most) = most_memory(|| (0..10).map(|i| vec![i; 1 << 20].len()).sum::<usize>());
    assert_eq!(sum, 10 << 20);
    assert!((4 << 20..5 << 20).contains(&most), "{most}");
}
