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

use std::arch::global_asm;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use forward_ring::Mapping;
use uintr::{instructions, msr};

use crate::device::Device;
use crate::files::Files;
use crate::service::Service;
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
/// The handler has seen the end of the service.
static HAS_ENDED: AtomicBool = AtomicBool::new(false);

/// What the assembly below saves; set before the handler is registered.
static XSAVE_COMPONENTS: AtomicU64 = AtomicU64::new(0);
static XSAVE_LEN: AtomicU64 = AtomicU64::new(0);

// On entry the stack holds the user vector, RIP, RFLAGS and RSP. RBX and R12 to R15 are saved by the Rust function.
// XRSTOR wants zeroes in the header behind the words that XSAVEC writes.
global_asm!(
    ".balign 16",
    "shadow_user_interrupt:",
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
    "sub rsp, qword ptr [rip + {len}]",
    "and rsp, -64",
    "xor eax, eax",
    "mov qword ptr [rsp + 512], rax",
    "mov qword ptr [rsp + 520], rax",
    "mov qword ptr [rsp + 528], rax",
    "mov qword ptr [rsp + 536], rax",
    "mov qword ptr [rsp + 544], rax",
    "mov qword ptr [rsp + 552], rax",
    "mov qword ptr [rsp + 560], rax",
    "mov qword ptr [rsp + 568], rax",
    "mov eax, dword ptr [rip + {components}]",
    "xor edx, edx",
    "xsavec64 [rsp]",
    "cld",
    "call {handler}",
    "mov eax, dword ptr [rip + {components}]",
    "xor edx, edx",
    "xrstor64 [rsp]",
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
    len = sym XSAVE_LEN,
    components = sym XSAVE_COMPONENTS,
    handler = sym on_user_interrupt,
);

unsafe extern "C" {
    fn shadow_user_interrupt();
}

extern "C" fn on_user_interrupt() {
    // SAFETY: the processor cleared UIF on delivery, so neither is there a `Masked` nor will this handler be
    // interrupted by itself: invariant 1.
    let service = unsafe { &mut *SERVICE.0.get() };
    if let Some(service) = service {
        service.on_notification();
        if service.outcome().is_some() {
            HAS_ENDED.store(true, Ordering::Relaxed);
        }
    }
    RUNS.store(
        RUNS.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// Returns how often the handler has run.
pub fn runs() -> u64 {
    RUNS.load(Ordering::Relaxed)
}

/// Tells whether the handler has seen the end of the service.
pub fn has_ended() -> bool {
    HAS_ENDED.load(Ordering::Relaxed)
}

/// UIF is clear: the service is the main thread's.
#[derive(Debug)]
pub struct Masked(());

/// UIF is set: the service is the handler's.
#[derive(Debug)]
pub struct Unmasked(());

/// Registers the handler for this thread and gives it the service to serve; once in a process.
pub fn start(device: &'static Device, ring: Mapping, files: Files) -> Result<Masked> {
    ensure!(
        !IS_STARTED.swap(true, Ordering::Relaxed),
        "there is a service already"
    );
    let state = ExtendedState::detect()?;
    XSAVE_COMPONENTS.store(state.components, Ordering::Relaxed);
    XSAVE_LEN.store(state.len_bytes, Ordering::Relaxed);
    let stack_adjust = msr::stack_adjust(RED_ZONE).context("the red zone has an odd length")?;
    let handler: unsafe extern "C" fn() = shadow_user_interrupt;
    // SAFETY: the assembly above keeps all state of the code that it interrupts; `unmask` runs STUI with the service
    // in place.
    let slot = unsafe { device.register_handler(handler as usize as u64, stack_adjust)? };
    let slot = u8::try_from(slot).context("the driver gave a UPID slot that does not exist")?;
    // SAFETY: the driver has set CR4.UINTR.
    unsafe { instructions::clui() };
    let service = Service::new(forward_ring::Server::new(ring), device, files, slot);
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

    /// Sets UIF: what is pending is handled before this returns.
    pub fn unmask(self) -> Unmasked {
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
