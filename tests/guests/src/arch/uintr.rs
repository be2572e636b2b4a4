// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts of the first CPU: MSRs, a UITT, and a handler that keeps a record of what arrived.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use spin::Once;
use uintr::{CR4_UINTR, UittEntry, Upid, instructions, msr};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

/// Notification vector.
pub const NOTIFICATION: u8 = 0xec;
/// Entries of the UITT.
pub const TARGETS: usize = 3;
/// Vectors that the record holds; later ones overwrite earlier ones.
const RECORD_LEN: usize = 16;
/// What compiled code keeps below its stack pointer.
const RED_ZONE: u64 = 128;

/// A descriptor as plain words, for those that break its rules.
#[repr(C, align(64))]
pub struct RawUpid {
    /// ON, SN, NV, NDST, reserved bits.
    pub control: AtomicU64,
    /// PIR.
    pub requests: AtomicU64,
}

impl RawUpid {
    /// Returns one of zeroes.
    pub const fn new() -> Self {
        Self {
            control: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }
    }

    /// Returns its address.
    pub fn address(&self) -> u64 {
        (&raw const *self).addr() as u64
    }
}

static UITT: Once<[UittEntry; TARGETS]> = Once::new();
static DELIVERED: AtomicU64 = AtomicU64::new(0);
static RECORD: [AtomicU8; RECORD_LEN] = [const { AtomicU8::new(0) }; RECORD_LEN];

/// Sets everything up: `own` receives, SENDUIPI number n goes to `targets[n]`. `own` is directed to the CPU and its
/// mode by `ndst`.
pub fn start(own: &'static Upid, ndst: u32, targets: [UittEntry; TARGETS]) {
    own.reset();
    let uitt = UITT.call_once(|| targets);
    let stack_adjust = msr::stack_adjust(RED_ZONE).unwrap_or(0);
    let uitt_address = uitt.as_ptr().addr() as u64;
    // SAFETY: the handler keeps all registers, the UITT lives for ever, and the UPIDs lie in the channel.
    unsafe {
        Cr4::write(Cr4Flags::from_bits_retain(Cr4::read_raw() | CR4_UINTR));
        write(
            msr::IA32_UINTR_HANDLER,
            (handler as *const ()).addr() as u64,
        );
        write(msr::IA32_UINTR_STACKADJUST, stack_adjust);
        write(
            msr::IA32_UINTR_MISC,
            msr::misc(NOTIFICATION, TARGETS as u32 - 1),
        );
        write(msr::IA32_UINTR_PD, (&raw const *own).addr() as u64);
        // A UITT entry is aligned to 16 bytes.
        write(msr::IA32_UINTR_TT, msr::tt(uitt_address).unwrap_or(0));
    }
    own.init(NOTIFICATION, ndst);
}

/// Sets up sending alone: SENDUIPI number n goes to `targets[n]`. UINV stays 0.
pub fn send_through(targets: &'static [UittEntry]) {
    let address = targets.as_ptr().addr() as u64;
    // SAFETY: the UITT lives for ever, and the UPIDs lie in the channel.
    unsafe {
        Cr4::write(Cr4Flags::from_bits_retain(Cr4::read_raw() | CR4_UINTR));
        write(msr::IA32_UINTR_MISC, msr::misc(0, targets.len() as u32 - 1));
        // A UITT entry is aligned to 16 bytes.
        write(msr::IA32_UINTR_TT, msr::tt(address).unwrap_or(0));
    }
}

/// Posts to target number `index`.
pub fn send(index: usize) {
    // SAFETY: `start` came before; a UITT entry that is not there raises an exception, which ends the test.
    unsafe { instructions::senduipi(index as u64) };
}

/// Does [`send`], for [`super::probe::raised_with`].
pub extern "C" fn send_to(index: u64) {
    send(index as usize);
}

/// Lets user interrupts be delivered, or holds them back.
pub fn enable(enabled: bool) {
    // SAFETY: CR4.UINTR is set, and the handler may run between any two instructions.
    unsafe {
        if enabled {
            instructions::stui();
        } else {
            instructions::clui();
        }
    }
}

/// Returns how many were delivered.
pub fn delivered() -> u64 {
    DELIVERED.load(Ordering::SeqCst)
}

/// Returns the user vector that was delivered as number `index`, counted from 0.
pub fn delivered_vector(index: u64) -> u8 {
    RECORD[index as usize % RECORD_LEN].load(Ordering::SeqCst)
}

/// Leaves a descriptor as another owner or another cell may: nothing is said about either word.
pub fn scribble(upid: &'static Upid, control: u64, requests: u64) {
    let words = (&raw const *upid).cast::<AtomicU64>();
    // SAFETY: the first two words of a descriptor, which are atomics; others change them at any time too.
    let (control_word, pir) = unsafe { (&*words, &*words.add(1)) };
    control_word.store(control, Ordering::SeqCst);
    pir.store(requests, Ordering::SeqCst);
}

/// # Safety
/// The value is fit for the register.
unsafe fn write(register: u32, value: u64) {
    // SAFETY: the caller's.
    unsafe { Msr::new(register).write(value) };
}

/// Records the vector, which lies on top of the stack.
#[unsafe(naked)]
unsafe extern "C" fn handler() -> ! {
    naked_asm!(
        "push rax",
        "push rcx",
        "push rdx",
        "mov rcx, [rip + {delivered}]",
        "mov eax, ecx",
        "and eax, {mask}",
        "lea rdx, [rip + {record}]",
        "add rdx, rax",
        "mov rax, [rsp + 24]",
        "mov [rdx], al",
        "inc rcx",
        "mov [rip + {delivered}], rcx",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, 8",
        "uiret",
        delivered = sym DELIVERED,
        mask = const RECORD_LEN - 1,
        record = sym RECORD,
    )
}
