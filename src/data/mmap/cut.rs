//! What is said when pages of a mapped file are gone: the kernel's `SIGBUS` becomes exit code 3 with
//! the file's name. Nothing is made of a page that is not there, so nothing that was written is wrong.

use std::path::Path;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use memmap2::Mmap;

use crate::text;

/// Exit code of data that cannot be used.
const DATA: libc::c_int = 3;

/// A mapping and the words for its end. Never freed, because a signal may read it at any time; to use one
/// again would need a lock, and there are few.
#[derive(Debug)]
struct Watch {
    start: usize,
    /// 0 once the mapping is gone.
    length: AtomicUsize,
    words: String,
    json: String,
    next: *const Watch,
}

/// The newest one.
static WATCHES: AtomicPtr<Watch> = AtomicPtr::new(ptr::null_mut());

/// Whether the words are said on standard output too, as an object.
static JSON: AtomicBool = AtomicBool::new(false);

/// Errors go to standard output too, as `--json` has it.
pub fn also_in_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Keeps watch over a mapping until it is dropped.
#[derive(Debug)]
pub(in crate::data) struct Watched(&'static Watch);

impl Watched {
    /// Watches the mapping of a file.
    pub(in crate::data) fn new(map: &Mmap, path: &Path) -> Watched {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(install);
        let message = format!(
            "{}: a part of it is gone while it is in use: it was cut short, or its disk fails; data \
             files must not change under a run, so copy it again and go on",
            path.display()
        );
        let json = serde_json::json!({"error": {"kind": "data", "message": message}});
        let watch = Box::leak(Box::new(Watch {
            start: map.as_ptr() as usize,
            length: AtomicUsize::new(map.len()),
            words: format!("error: {}\n", text::one_line(&message)),
            json: format!("{json}\n"),
            next: ptr::null(),
        }));
        let mut newest = WATCHES.load(Ordering::Acquire);
        loop {
            watch.next = newest;
            match WATCHES.compare_exchange(newest, watch, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Watched(watch),
                Err(other) => newest = other,
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.length.store(0, Ordering::Release);
    }
}

/// The action that was there before: of Rust's runtime, which tells a stack overflow.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

fn install() {
    // SAFETY: all zeros is a valid action; both pointers are to actions that live through the call,
    // and the handler only does what a signal handler may.
    unsafe {
        let mut before: Box<libc::sigaction> = Box::new(std::mem::zeroed());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, ptr::null(), &mut *before) == 0 {
            BEFORE.store(Box::leak(before), Ordering::Release);
            libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
        }
    }
}

/// Ends the process where the address is of a watched mapping, and else leaves it to whoever was asked
/// before. Only writes and exits: nothing else may be done within a signal.
extern "C" fn handle(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over a valid description of the signal.
    let address = unsafe { (*info).si_addr() } as usize;
    let mut next = WATCHES.load(Ordering::Acquire).cast_const();
    // SAFETY: a watch is never freed, and its link does not change once it is in the list.
    while let Some(watch) = unsafe { next.as_ref() } {
        let offset = address.wrapping_sub(watch.start);
        if offset < watch.length.load(Ordering::Acquire) {
            wait_unless_first();
            say(libc::STDERR_FILENO, &watch.words);
            if JSON.load(Ordering::Relaxed) {
                say(libc::STDOUT_FILENO, &watch.json);
            }
            // SAFETY: ends the process without running what a signal may not run.
            unsafe { libc::_exit(DATA) };
        }
        next = watch.next;
    }
    let before = BEFORE.load(Ordering::Acquire);
    // SAFETY: the action that the kernel gave; the faulting access is repeated after the return, and
    // then meets that action.
    unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
}

/// Returns in the first thread that comes here; the others wait for the process to end, because the
/// words are said once, and threads that read the same file meet its end together.
fn wait_unless_first() {
    static FIRST: AtomicBool = AtomicBool::new(true);
    if FIRST.swap(false, Ordering::AcqRel) {
        return;
    }
    loop {
        // SAFETY: waits for a signal; what handlers do is theirs.
        unsafe { libc::pause() };
    }
}

fn say(to: libc::c_int, words: &str) {
    // SAFETY: the bytes live through the call. That nobody reads them changes nothing here.
    unsafe { libc::write(to, words.as_ptr().cast(), words.len()) };
}

// SAFETY: what is shared of a watch are atomics and texts that do not change.
unsafe impl Sync for Watch {}
// SAFETY: as above; the link is only followed, never freed.
unsafe impl Send for Watch {}
