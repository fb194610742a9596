//! Large pages for memory of many megabytes: it is handed out in fewer pieces, and a core's address
//! translation holds more of it.

/// Bytes of a large page.
pub const LARGE_PAGE: usize = 2 << 20;

/// Asks for large pages where they lie wholly within the `bytes` from `start`. Where the system has none,
/// nothing changes but the speed.
#[cfg(target_os = "linux")]
pub fn ask(start: *const u8, bytes: usize) {
    let before = start.align_offset(LARGE_PAGE).min(bytes);
    let whole = (bytes - before) / LARGE_PAGE * LARGE_PAGE;
    let first = start.wrapping_add(before).cast_mut();
    // SAFETY: this advice changes no contents, whatever the memory is; where it is nobody's, it fails.
    unsafe { libc::madvise(first.cast(), whole, libc::MADV_HUGEPAGE) };
}

/// As on Linux, which alone has the call.
#[cfg(not(target_os = "linux"))]
pub fn ask(_start: *const u8, _bytes: usize) {}
