//! The memory that a thread asks for: the largest piece, and the most that it holds at a time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST_HELD: Cell<usize> = const { Cell::new(0) };
}

struct Watching;

#[global_allocator]
static WATCHING: Watching = Watching;

fn see(taken: usize, given_back: usize) {
    // A thread that ends allocates after its values are gone.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(taken)));
    let _ = HELD.try_with(|held| {
        // What another thread took may be given back here.
        held.set((held.get() + taken).saturating_sub(given_back));
        let _ = MOST_HELD.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call is handed on to the system's allocator as it is; the cells are the thread's own and
// allocate nothing.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        see(layout.size(), 0);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        see(layout.size(), 0);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while it is copied.
        see(size, 0);
        // SAFETY: the caller keeps the contract.
        let moved = unsafe { System.realloc(memory, layout, size) };
        see(0, layout.size());
        moved
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        see(0, layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What `of` gives, and the largest allocation that it made on this thread.
pub fn largest<T>(of: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.set(0);
    let result = of();
    (result, LARGEST.get())
}

/// What `of` gives, and the most bytes that it held at a time on this thread.
pub fn most_held<T>(of: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST_HELD.set(before);
    let result = of();
    (result, MOST_HELD.get().saturating_sub(before))
}
