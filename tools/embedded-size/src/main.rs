//! The whole client library in the smallest program around it, so that a linker can say how large it is.
//!
//! Nothing here runs. Inputs come out of a black box and outputs go into one, so that all of [`Client`] stays in.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::hint::black_box;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use sectag_proto::Uptime;
use sectag_proto::device::{
    Client, ClientConfig, FunctionalMode, Input, Output, RadioState, StoreFailure, TransportError,
};

/// Where the linker begins.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    let config: ClientConfig = black_box(ClientConfig::default());
    let Ok(mut client) = Client::new(config) else {
        halt();
    };
    let mut now = Uptime(0);
    black_box(client.init(now).is_ok());
    loop {
        now = now.plus(Duration::from_millis(black_box(1)));
        match black_box(0_u8) {
            0 => client.handle(any_input(), now),
            1 => _ = black_box(client.trigger(now)),
            2 => _ = black_box(client.set_interval(black_box(0), now)),
            _ => _ = black_box((client.ending(), client.next_session(), client.after())),
        }
        while !matches!(black_box(client.poll()), Output::Wait(_)) {}
    }
}

fn any_input() -> Input {
    let text = || black_box(String::new());
    let status = black_box(200);
    match black_box(0_u8) {
        0 => Input::Triggered,
        1 => Input::Signed(text().into()),
        2 => Input::SignFailed(text()),
        3 => Input::Fetched {
            status,
            body: black_box(Vec::new()),
        },
        4 => Input::Reported { status },
        5 => Input::Failed(black_box(TransportError::Closed)),
        6 => Input::ModemSaid(text()),
        7 => Input::ModemFailed(text()),
        8 => Input::RadioIs(RadioState {
            mode: FunctionalMode(black_box(1)),
            pdn_active: black_box(true),
        }),
        9 => Input::Hint(Duration::from_secs(black_box(1))),
        10 => Input::Network(black_box(true)),
        11 => Input::Loaded(black_box(None)),
        12 => Input::TimeKnown,
        13 => Input::Stored,
        14 => Input::StoreFailed(black_box(StoreFailure::Io)),
        _ => Input::Tick,
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}

fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Hands out memory once and never takes it back; a real device brings its own heap.
struct Bump {
    arena: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

const ARENA: usize = 32 * 1024;

#[global_allocator]
static HEAP: Bump = Bump {
    arena: UnsafeCell::new([0; ARENA]),
    used: AtomicUsize::new(0),
};

// SAFETY: `used` only grows and is moved by compare-and-swap, so no two callers get the same bytes.
unsafe impl Sync for Bump {}

// SAFETY: blocks lie inside the arena, are aligned as asked, and never overlap.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.arena.get().cast::<u8>();
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let free = base.wrapping_add(used);
            let begin = used + free.align_offset(layout.align());
            let Some(end) = begin.checked_add(layout.size()).filter(|end| *end <= ARENA) else {
                return ptr::null_mut();
            };
            match self
                .used
                .compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return base.wrapping_add(begin),
                Err(moved) => used = moved,
            }
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
