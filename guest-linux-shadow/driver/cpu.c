// SPDX-License-Identifier: GPL-2.0
/*
 * The processor's side of user interrupts: CR4.UINTR on all CPUs, the MSRs,
 * and UIF, which is in no MSR and not in RFLAGS.
 *
 * (SDM 3A, "User Interrupts")
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpuhotplug.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/asm.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/tlbflush.h>

#include "isthmus.h"

#define CR4_UINTR		BIT_ULL(25)
#define CPUID_7_0_EDX_UINTR	BIT(5)

#define IA32_UINTR_RR		0x985
#define IA32_UINTR_HANDLER	0x986
#define IA32_UINTR_STACKADJUST	0x987
#define IA32_UINTR_MISC		0x988
#define IA32_UINTR_PD		0x989
#define IA32_UINTR_TT		0x98a

static int hotplug_state;
static bool unloading;

/* Bytes, because the assembler may be older than the instructions. */
static void stui(void)
{
	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xef" : : : "memory");
}

static void clui(void)
{
	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xee" : : : "memory");
}

static bool testui(void)
{
	bool uif;

	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xed" : "=@ccc" (uif) : : "memory");
	return uif;
}

/* Other names of these two change with the kernel's version. */
static void write_msr(u32 msr, u64 value)
{
	wrmsr(msr, lower_32_bits(value), upper_32_bits(value));
}

static u64 read_msr(u32 msr)
{
	u32 low, high;

	rdmsr(msr, low, high);
	return (u64)high << 32 | low;
}

/*
 * Control word of a UPID that notifies this CPU with vector @nv: nothing
 * outstanding, nothing suppressed. The CPU must not change meanwhile.
 */
u64 isthmus_upid_control(u8 nv)
{
	u32 apic_id = per_cpu(x86_cpu_to_apicid, smp_processor_id());
	u64 ndst = x2apic_mode ? apic_id : (apic_id & 0xff) << 8;

	return ndst << 32 | (u64)nv << 16;
}

/* Interrupts are off in all of the following. */

/* Loads the state; no vector is recognised yet. */
void isthmus_cpu_load(const struct isthmus_cpu_state *state)
{
	write_msr(IA32_UINTR_TT, state->tt);
	write_msr(IA32_UINTR_HANDLER, state->handler);
	write_msr(IA32_UINTR_STACKADJUST, state->stack_adjust);
	write_msr(IA32_UINTR_PD, state->pd);
	/* Last: from here on notifications go to the UPID just named. */
	write_msr(IA32_UINTR_MISC, state->misc);
}

/* Makes @requests pending and sets UIF as the thread had it. */
void isthmus_cpu_start(u64 requests, bool uif)
{
	write_msr(IA32_UINTR_RR, requests);
	if (uif)
		stui();
	else
		clui();
}

/* Takes pending vectors and UIF away from the CPU. */
void isthmus_cpu_stop(u64 *requests, bool *uif)
{
	*requests = read_msr(IA32_UINTR_RR);
	*uif = testui();
	clui();
	write_msr(IA32_UINTR_RR, 0);
}

/* Leaves nothing of a thread behind. */
void isthmus_cpu_clear(void)
{
	write_msr(IA32_UINTR_MISC, 0);
	write_msr(IA32_UINTR_TT, 0);
	write_msr(IA32_UINTR_PD, 0);
	write_msr(IA32_UINTR_HANDLER, 0);
	write_msr(IA32_UINTR_STACKADJUST, 0);
}

/*
 * SENDUIPI to @upid, whatever thread is current: by a table of one entry that
 * stands in for the thread's own. So a post by this kernel is what it is by any
 * other sender, for whoever receives it. The other side of a channel may have
 * damaged the descriptor: then the instruction faults.
 */
int isthmus_cpu_post(struct isthmus_upid *upid, u32 vector)
{
	struct isthmus_uitt_entry entry __aligned(16) = {
		.low = (u64)vector << 8 | UITT_VALID,
		.upid = (u64)upid,
	};
	u64 tt = read_msr(IA32_UINTR_TT);
	int ret = -EIO;

	/* Index 0 is valid whatever size the table has. */
	write_msr(IA32_UINTR_TT, (u64)&entry | UITT_VALID);
	asm goto("1: .byte 0xf3, 0x0f, 0xc7, 0xf0\n"	/* senduipi %rax */
		 _ASM_EXTABLE(1b, %l[fault])
		 : : "a" (0UL), "m" (entry) : "memory" : fault);
	ret = 0;
fault:
	write_msr(IA32_UINTR_TT, tt);
	return ret;
}

static bool cpu_has_uintr(void)
{
	u32 eax, ebx, ecx, edx;

	if (boot_cpu_data.cpuid_level < 7)
		return false;
	cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	return edx & CPUID_7_0_EDX_UINTR;
}

static int enable_cpu(unsigned int cpu)
{
	unsigned long flags;

	if (!cpu_has_uintr()) {
		pr_err("CPU %u has no user interrupts\n", cpu);
		return -ENODEV;
	}
	local_irq_save(flags);
	cr4_set_bits_irqsoff(CR4_UINTR);
	clui();
	write_msr(IA32_UINTR_RR, 0);
	isthmus_cpu_clear();
	local_irq_restore(flags);
	return 0;
}

static int disable_cpu(unsigned int cpu)
{
	/*
	 * A CPU that goes offline may still run bound threads for a while;
	 * INIT clears its CR4 anyway.
	 */
	if (unloading)
		cr4_clear_bits(CR4_UINTR);
	return 0;
}

int isthmus_cpu_init(void)
{
	if (!cpu_has_uintr()) {
		pr_err("the processor (or its hypervisor) offers no user interrupts\n");
		return -ENODEV;
	}
	if (boot_cpu_has(X86_FEATURE_PTI)) {
		pr_err("page-table isolation is on: UITT and UPID would not be mapped in user mode (boot with nopti)\n");
		return -EOPNOTSUPP;
	}
	hotplug_state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "isthmus:online",
					  enable_cpu, disable_cpu);
	return min(hotplug_state, 0);
}

void isthmus_cpu_exit(void)
{
	unloading = true;
	cpuhp_remove_state(hotplug_state);
}
