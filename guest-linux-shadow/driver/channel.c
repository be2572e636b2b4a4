// SPDX-License-Identifier: GPL-2.0
/*
 * The hypervisor: finding it, asking it what this cell has, and the part of
 * each channel that is the kernel's (state words and UPIDs).
 *
 * The contract is docs/interfaces.md and crates/hv-abi.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <asm/apic.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>

#include "isthmus.h"

#define CPUID_SIGNATURE		0x40000000
#define CPUID_ABI		0x40000001

#define HYPERCALL_CPU_GET_INFO	7
#define HYPERCALL_BOOT_INFO	0x100
#define CPU_STAT_TOTAL		1000

#define CLIENT_STATE_OFFSET	0x40
#define SERVER_STATE_OFFSET	0x80
#define CLIENT_UPIDS_OFFSET	0x1000
#define SERVER_UPIDS_OFFSET	0x2000
/* A page of indices and slots, and 32 buffers of a page. */
#define MIN_CHANNEL_SIZE	(ISTHMUS_RING_OFFSET + 33 * PAGE_SIZE)

#define BOOT_INFO_MAGIC		"ISTHMUS"	/* and its NUL */
#define BOOT_INFO_X2APIC	BIT(0)

struct boot_channel {
	char name[ISTHMUS_NAME_LEN];
	char peer[ISTHMUS_NAME_LEN];
	u64 base;
	u64 size;
	u32 role;
	u32 doorbell;
};

struct boot_info {
	char magic[8];
	u32 revision;
	u32 cell_id;
	u32 flags;
	u32 tsc_khz;
	char name[ISTHMUS_NAME_LEN];
	u64 console[2];
	u64 initrd[2];
	u32 memory_count;
	u32 channel_count;
	u32 cpu_count;
	u32 reserved;
	u64 memory[16][2];
	struct boot_channel channels[ISTHMUS_MAX_CHANNELS];
	u32 cpus[ISTHMUS_MAX_CPUS];
	char cmdline[1024];
	u8 padding[1752];
};
static_assert(sizeof(struct boot_info) == 4096);

struct isthmus_cell isthmus_cell;

static long hypercall(u64 code, u64 first, u64 second)
{
	long ret;

	asm volatile("vmcall"
		     : "=a" (ret)
		     : "a" (code), "D" (first), "S" (second)
		     : "memory");
	return ret;
}

static int find_hypervisor(void)
{
	u32 highest_leaf, ebx, ecx, edx, revision;
	char signature[12];

	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR)) {
		pr_err("this is no Isthmus cell: no hypervisor here\n");
		return -ENODEV;
	}
	cpuid(CPUID_SIGNATURE, &highest_leaf, &ebx, &ecx, &edx);
	memcpy(signature, &ebx, 4);
	memcpy(signature + 4, &ecx, 4);
	memcpy(signature + 8, &edx, 4);
	if (memcmp(signature, "IsthmusHv\0\0\0", sizeof(signature))) {
		pr_err("this is no Isthmus cell: the hypervisor's signature is \"%.12s\"\n",
		       signature);
		return -ENODEV;
	}
	revision = highest_leaf >= CPUID_ABI ? cpuid_eax(CPUID_ABI) : 0;
	if (revision != ISTHMUS_ABI_REVISION) {
		pr_err("the hypervisor has ABI revision %u, this driver %u\n",
		       revision, ISTHMUS_ABI_REVISION);
		return -EPROTO;
	}
	return 0;
}

static bool is_text(const char *field)
{
	return strnlen(field, ISTHMUS_NAME_LEN) < ISTHMUS_NAME_LEN;
}

static bool is_valid_channel(const struct boot_channel *channel)
{
	u64 limit = BIT_ULL(boot_cpu_data.x86_phys_bits);

	return is_text(channel->name) && is_text(channel->peer) &&
	       IS_ALIGNED(channel->base | channel->size, PAGE_SIZE) &&
	       channel->size >= MIN_CHANNEL_SIZE && channel->size <= limit &&
	       channel->base <= limit - channel->size &&
	       channel->role <= ISTHMUS_ROLE_SERVER &&
	       channel->doorbell <= ISTHMUS_DOORBELL_FILTERED;
}

static bool is_valid_boot_info(const struct boot_info *info)
{
	u32 i;

	if (memcmp(info->magic, BOOT_INFO_MAGIC, sizeof(info->magic)) ||
	    info->revision != ISTHMUS_ABI_REVISION || !is_text(info->name) ||
	    info->channel_count > ISTHMUS_MAX_CHANNELS ||
	    !info->cpu_count || info->cpu_count > ISTHMUS_MAX_CPUS)
		return false;
	for (i = 0; i < info->channel_count; i++)
		if (!is_valid_channel(&info->channels[i]))
			return false;
	return true;
}

static struct boot_info *read_boot_info(void)
{
	struct boot_info *info = (struct boot_info *)get_zeroed_page(GFP_KERNEL);
	long ret;

	if (!info)
		return ERR_PTR(-ENOMEM);
	ret = hypercall(HYPERCALL_BOOT_INFO, virt_to_phys(info), 0);
	if (!ret && is_valid_boot_info(info))
		return info;
	if (ret)
		pr_err("the hypervisor refused the boot information: %ld\n", ret);
	else
		pr_err("the boot information makes no sense\n");
	free_page((unsigned long)info);
	return ERR_PTR(-EPROTO);
}

static int map_channel(struct isthmus_channel *channel,
		       const struct boot_channel *from)
{
	strscpy(channel->name, from->name, sizeof(channel->name));
	strscpy(channel->peer, from->peer, sizeof(channel->peer));
	channel->base = from->base;
	channel->size = from->size;
	channel->role = from->role;
	channel->doorbell = from->doorbell;

	if (region_intersects(channel->base, channel->size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT) {
		pr_err("channel \"%s\" lies in this kernel's own memory\n", channel->name);
		return -EBUSY;
	}
	if (!request_mem_region(channel->base, channel->size, KBUILD_MODNAME)) {
		pr_err("channel \"%s\" lies in memory that another driver uses\n",
		       channel->name);
		return -EBUSY;
	}
	channel->control = memremap(channel->base, ISTHMUS_RING_OFFSET, MEMREMAP_WB);
	if (!channel->control) {
		release_mem_region(channel->base, channel->size);
		return -ENOMEM;
	}
	return 0;
}

static void unmap_channels(void)
{
	struct isthmus_channel *channel;

	while (isthmus_cell.channel_count) {
		channel = &isthmus_cell.channels[--isthmus_cell.channel_count];
		memunmap(channel->control);
		release_mem_region(channel->base, channel->size);
	}
}

int isthmus_cell_init(void)
{
	struct boot_info *info;
	int ret;
	u32 i;

	ret = find_hypervisor();
	if (ret)
		return ret;
	info = read_boot_info();
	if (IS_ERR(info))
		return PTR_ERR(info);
	if (!(info->flags & BOOT_INFO_X2APIC) != !x2apic_mode)
		pr_warn("the hypervisor says %s, this kernel %s: peers may use the wrong form of APIC IDs\n",
			info->flags & BOOT_INFO_X2APIC ? "x2APIC" : "xAPIC",
			x2apic_mode ? "x2APIC" : "xAPIC");

	isthmus_cell.id = info->cell_id;
	strscpy(isthmus_cell.name, info->name, sizeof(isthmus_cell.name));
	isthmus_cell.cpu_count = info->cpu_count;
	memcpy(isthmus_cell.cpus, info->cpus, sizeof(isthmus_cell.cpus));
	for (i = 0; i < info->channel_count; i++) {
		ret = map_channel(&isthmus_cell.channels[i], &info->channels[i]);
		if (ret)
			break;
		isthmus_cell.channel_count++;
	}
	if (ret)
		unmap_channels();
	free_page((unsigned long)info);
	return ret;
}

void isthmus_cell_exit(void)
{
	unmap_channels();
}

/* Sums up the VM exits of all CPUs of this cell. */
long isthmus_cell_exits(u64 *sum)
{
	long ret;
	u32 i;

	*sum = 0;
	for (i = 0; i < isthmus_cell.cpu_count; i++) {
		ret = hypercall(HYPERCALL_CPU_GET_INFO, isthmus_cell.cpus[i],
				CPU_STAT_TOTAL);
		if (ret < 0)
			return -EIO;
		*sum += ret;
	}
	return 0;
}

static struct isthmus_upid *upid(struct isthmus_channel *channel, u32 role, u32 slot)
{
	u32 offset = role == ISTHMUS_ROLE_CLIENT ? CLIENT_UPIDS_OFFSET :
						   SERVER_UPIDS_OFFSET;

	return (struct isthmus_upid *)(channel->control + offset) + slot;
}

/* The caller has checked @slot. */
struct isthmus_upid *isthmus_own_upid(struct isthmus_channel *channel, u32 slot)
{
	return upid(channel, channel->role, slot);
}

/* The caller has checked @slot. */
struct isthmus_upid *isthmus_peer_upid(struct isthmus_channel *channel, u32 slot)
{
	return upid(channel, !channel->role, slot);
}

static u32 *state(struct isthmus_channel *channel, u32 role)
{
	return channel->control + (role == ISTHMUS_ROLE_CLIENT ?
				   CLIENT_STATE_OFFSET : SERVER_STATE_OFFSET);
}

/* Tells the other side whether this one serves the channel. */
void isthmus_set_state(struct isthmus_channel *channel, bool ready)
{
	smp_store_release(state(channel, channel->role), ready);
}

/* Returns what the other side, or the hypervisor at its end, says of it. */
u32 isthmus_peer_state(struct isthmus_channel *channel)
{
	return smp_load_acquire(state(channel, !channel->role));
}
