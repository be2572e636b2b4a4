// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user-interrupt handler, and the mask that keeps it apart from the main thread.
//!
//! The handler runs in the main thread, between any two of its instructions, whenever UIF is set. Both use the one
//! [`Service`]: the handler while the processor keeps UIF clear for it, the main thread while it holds [`Masked`].
//!
//! # Invariants
//! 1. There is at most one of [`Masked`] and [`Unmasked`]; UIF is clear exactly while it is `Masked`, or while the
//!    handler runs.
//! 2. The handler allocates nothing, takes no locks and leaves `errno` alone.
#![expect(unsafe_code, reason = "user interrupts")]

use std::arch::naked_asm;
use std::cell::UnsafeCell;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use uintr::{instructions, msr};

use crate::device::Device;
use crate::service::{DONE_VECTOR, Parts, Service};
use crate::xstate::ExtendedState;

/// Bytes below the stack pointer that compiled code may use without moving it. (System V ABI, red zone)
const RED_ZONE: u64 = 128;

type DeviceService = Service<&'static Device>;

struct ServiceCell(UnsafeCell<Option<DeviceService>>);

// SAFETY: only one thread comes here, as `Masked` or in the handler, and never both: invariant 1.
unsafe impl Sync for ServiceCell {}

static SERVICE: ServiceCell = ServiceCell(UnsafeCell::new(None));
static IS_STARTED: AtomicBool = AtomicBool::new(false);
/// Runs of the handler, for the main thread to see that something happened.
static RUNS: AtomicU64 = AtomicU64::new(0);
/// What the main thread has to know of the service while that is the handler's: the calls that workers have, and
/// [`WANTS_MAIN_THREAD`]. One word, because a thread that spins looks at it again and again.
static STATE: AtomicU64 = AtomicU64::new(0);
/// In [`STATE`], whose lower half is the number of calls: there is something for the main thread.
const WANTS_MAIN_THREAD: u64 = 1 << 32;

/// What the assembly below saves; set before the handler is registered.
static XSAVE_COMPONENTS: AtomicU64 = AtomicU64::new(0);

/// The XSAVE area. The handler is never interrupted by itself, so one is enough; and the part of its header that XSAVEC
/// does not write, which XRSTOR wants to be zero, stays so.
#[repr(C, align(64))]
struct SaveArea(UnsafeCell<[u8; SAVE_LEN]>);

// SAFETY: only the assembly below uses it, in one thread, and not while it does so already.
unsafe impl Sync for SaveArea {}

/// More than the components that are saved ever take: AVX-512 makes it 2,696 bytes.
const SAVE_LEN: usize = 4096;
static SAVE_AREA: SaveArea = SaveArea(UnsafeCell::new([0; SAVE_LEN]));

/// The handler. On entry the stack holds the user vector, RIP, RFLAGS and RSP. RBX and R12 to R15 are saved by the Rust
/// function.
#[unsafe(naked)]
unsafe extern "C" fn shadow_user_interrupt() -> ! {
    naked_asm!(
        "endbr64",
        "push rbp",
        "mov rbp, rsp",
        "push rax",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "and rsp, -16",
        "mov eax, dword ptr [rip + {components}]",
        "xor edx, edx",
        "xsavec64 [rip + {area}]",
        "cld",
        "mov rdi, [rbp + 8]",
        "call {handler}",
        "mov eax, dword ptr [rip + {components}]",
        "xor edx, edx",
        "xrstor64 [rip + {area}]",
        "lea rsp, [rbp - 72]",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "pop rbp",
        "add rsp, 8",
        "uiret",
        components = sym XSAVE_COMPONENTS,
        area = sym SAVE_AREA,
        handler = sym on_user_interrupt,
    )
}

extern "C" fn on_user_interrupt(vector: u64) {
    // SAFETY: the processor cleared UIF on delivery, so neither is there a `Masked` nor will this handler be
    // interrupted by itself: invariant 1.
    let service = unsafe { &mut *SERVICE.0.get() };
    if let Some(service) = service {
        service.on_notification(vector);
        let wants_main_thread = service.outcome().is_some() || !service.is_announced();
        note(service, wants_main_thread);
    }
    RUNS.store(
        RUNS.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// Notes what [`is_quiet`] and its like tell.
#[inline(always)]
fn note(service: &DeviceService, wants_main_thread: bool) {
    let flag = if wants_main_thread {
        WANTS_MAIN_THREAD
    } else {
        0
    };
    STATE.store(u64::from(service.under_way()) | flag, Ordering::Relaxed);
}

/// Returns how often the handler has run.
pub fn runs() -> u64 {
    RUNS.load(Ordering::Relaxed)
}

/// Tells whether the handler has seen something that is the main thread's affair: the end of a client, above all.
pub fn wants_main_thread() -> bool {
    STATE.load(Ordering::Relaxed) & WANTS_MAIN_THREAD != 0
}

/// Tells whether workers had calls when the handler ran last.
pub fn has_calls_under_way() -> bool {
    STATE.load(Ordering::Relaxed) & !WANTS_MAIN_THREAD != 0
}

/// Tells whether there is nothing of either.
pub fn is_quiet() -> bool {
    STATE.load(Ordering::Relaxed) == 0
}

/// UIF is clear: the service is the main thread's.
#[derive(Debug)]
pub struct Masked(());

/// UIF is set: the service is the handler's.
#[derive(Debug)]
pub struct Unmasked(());

/// Registers the handler for this thread and gives it the service of the device's channel; once in a process.
/// `stays`: one client is served after the other.
pub fn start(device: &'static Device, root: OwnedFd, stays: bool) -> Result<Masked> {
    ensure!(
        !IS_STARTED.swap(true, Ordering::Relaxed),
        "there is a service already"
    );
    let state = ExtendedState::detect()?;
    ensure!(
        state.len_bytes <= SAVE_LEN as u64,
        "the processor's state takes {} bytes",
        state.len_bytes
    );
    XSAVE_COMPONENTS.store(state.components, Ordering::Relaxed);
    let stack_adjust = msr::stack_adjust(RED_ZONE).context("the red zone has an odd length")?;
    let handler: unsafe extern "C" fn() -> ! = shadow_user_interrupt;
    // SAFETY: the assembly above keeps all state of the code that it interrupts; `unmask` runs STUI with the service
    // in place.
    let slot = unsafe { device.register_handler(handler as usize as u64, stack_adjust)? };
    let own_slot = u8::try_from(slot).context("the driver gave a UPID slot that does not exist")?;
    // SAFETY: the driver has set CR4.UINTR.
    unsafe { instructions::clui() };
    let parts = Parts {
        rings: device.map_rings()?,
        machine: device,
        root,
        own_slot,
        stays,
    };
    let service = Service::new(parts, || device.post(DONE_VECTOR))?;
    // SAFETY: UIF is clear and this is the first and only `Masked`: invariant 1.
    unsafe { *SERVICE.0.get() = Some(service) };
    Ok(Masked(()))
}

impl Masked {
    /// Returns the service.
    pub fn service(&mut self) -> &mut DeviceService {
        // SAFETY: UIF is clear as long as `self` is there, and `self` is borrowed as long as the reference:
        // invariant 1.
        let service = unsafe { &mut *SERVICE.0.get() };
        service
            .as_mut()
            .expect("`start` put it there before it made a Masked")
    }

    /// Notes what [`wants_main_thread`] and [`has_calls_under_way`] tell, as the handler does.
    fn note(&mut self) {
        let wants_main_thread = self.service().outcome().is_some();
        note(self.service(), wants_main_thread);
    }

    /// Sets UIF: what is pending is handled before this returns.
    pub fn unmask(mut self) -> Unmasked {
        self.note();
        // SAFETY: the handler is registered, and no reference to the service is left: they borrowed `self`.
        unsafe { instructions::stui() };
        Unmasked(())
    }
}

impl Unmasked {
    /// Clears UIF.
    pub fn mask(self) -> Masked {
        // SAFETY: the driver keeps CR4.UINTR set while the device is open.
        unsafe { instructions::clui() };
        Masked(())
    }
}
