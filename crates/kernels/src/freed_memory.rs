//! The memory of a step, kept for the next one.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// `mi_option_purge_delay` of version 3: milliseconds after which freed memory goes back to the system.
const PURGE_DELAY: mi_option_t = 15;

/// Longer than a training step of any size that a CPU is used for.
const KEPT_MS: c_long = 10_000;

/// Lets a program whose allocator is mimalloc keep for ten seconds what it frees, unless `MIMALLOC_PURGE_DELAY` says
/// otherwise. After one second, as is usual, a step that takes longer gets its memory from the system again, which clears
/// every page.
pub fn keep_freed_memory() {
    #[expect(unsafe_code, reason = "a function of C, which takes any value of any option")]
    unsafe {
        mi_option_set_default(PURGE_DELAY, KEPT_MS);
    }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    /// The number of the option is the library's own affair, its default is not.
    #[test]
    fn freed_memory_is_kept_for_ten_seconds_instead_of_one() {
        #[expect(unsafe_code, reason = "a function of C, which takes any option")]
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        let before = delay();
        keep_freed_memory();
        assert_eq!((before, delay()), (1_000, KEPT_MS));
    }
}
