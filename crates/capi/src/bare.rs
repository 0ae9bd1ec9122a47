//! What a Rust library needs where there is no operating system: memory from the firmware's C library, and an end.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn free(memory: *mut c_void);
    fn abort() -> !;
}

/// `malloc` of newlib and picolibc aligns to this on a 32-bit ARM, and so does Zephyr's.
const MALLOC_ALIGN: usize = 8;

struct Malloc;

#[global_allocator]
static MALLOC: Malloc = Malloc;

// SAFETY: `malloc` gives memory of that size, aligned to MALLOC_ALIGN, that nobody else has until `free`; a layout that
// needs more gets none.
unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > MALLOC_ALIGN {
            return core::ptr::null_mut();
        }
        // SAFETY: the C library's own contract; the size is not 0.
        unsafe { malloc(layout.size()) }.cast()
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: it came from `alloc`, which means from `malloc`.
        unsafe { free(memory.cast()) };
    }
}

/// A defect or no memory: as the header says, this build has no way to go on.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: may be called at any time.
    unsafe { abort() }
}
