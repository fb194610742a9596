//! One allocation for a plan, with typed views and guard bands.

use std::alloc::Layout;
use std::ops::Range;
use std::ptr::NonNull;

use crate::graph::memory::ALIGNMENT;
use crate::large_pages::{self, LARGE_PAGE};

/// Pattern of a guard band: a NaN that no computation gives.
pub const GUARD: u32 = 0x7fc0_dead;

/// The memory of a session, as floats; every buffer of a plan is aligned in it.
pub struct Arena {
    start: NonNull<f32>,
    layout: Layout,
}

impl Arena {
    /// `bytes` of zeros, or `None` where the system has not that much.
    pub fn new(bytes: usize) -> Option<Arena> {
        let layout = Layout::from_size_align(bytes.max(ALIGNMENT), alignment(bytes)).ok()?;
        // SAFETY: the layout is not empty.
        let start: NonNull<f32> = NonNull::new(unsafe { std::alloc::alloc(layout) }.cast())?;
        large_pages::ask(start.as_ptr().cast(), layout.size());
        // SAFETY: the allocation is as long as the layout; a float's zero is all bits zero.
        unsafe { start.cast::<u8>().write_bytes(0, layout.size()) };
        Some(Arena { start, layout })
    }

    /// Floats of the arena.
    pub fn len(&self) -> usize {
        self.layout.size() / 4
    }

    /// Whether the arena holds nothing; never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The floats of `range`.
    ///
    /// # Safety
    /// While the view lives, nothing may write to the range.
    pub unsafe fn view(&self, range: Range<usize>) -> &[f32] {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "a view inside the arena"
        );
        // SAFETY: inside the allocation by the assertion; not written to by the caller's word.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(range.start), range.len()) }
    }

    /// The floats of `range`, to write.
    ///
    /// # Safety
    /// While the view lives, no other view may meet the range.
    #[allow(clippy::mut_from_ref)] // disjoint ranges are the caller's contract
    pub unsafe fn view_mut(&self, range: Range<usize>) -> &mut [f32] {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "a view inside the arena"
        );
        // SAFETY: inside the allocation by the assertion; exclusive by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(range.start), range.len()) }
    }

    /// Fills `range` with the guard pattern.
    pub fn guard(&mut self, range: Range<usize>) {
        // SAFETY: `&mut self` means that no view lives.
        unsafe { self.view_mut(range) }.fill(f32::from_bits(GUARD));
    }

    /// Whether `range` still holds the guard pattern.
    pub fn is_guard(&mut self, range: Range<usize>) -> bool {
        // SAFETY: `&mut self` means that no view lives.
        unsafe { self.view(range) }
            .iter()
            .all(|x| x.to_bits() == GUARD)
    }
}

/// Where the arena begins: at a large page, if it fills one.
fn alignment(bytes: usize) -> usize {
    match bytes < LARGE_PAGE {
        true => ALIGNMENT,
        false => LARGE_PAGE,
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; no view outlives the arena.
        unsafe { std::alloc::dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

// SAFETY: the arena owns its memory, so that it may go to another thread.
unsafe impl Send for Arena {}

// SAFETY: a view_mut through a shared reference is the only way to write, and its contract
// forbids two views that meet, on whatever threads.
unsafe impl Sync for Arena {}
