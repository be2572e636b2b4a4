/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The driver's parts and what they may call of each other.
 *
 * main.c     loading and unloading, in order
 * cpu.c      the processor: enumeration, CR4, instructions, MSRs
 * channel.c  the hypervisor: hypercalls, boot information, channel memory
 * context.c  user-interrupt state of a thread, switched with it
 * wait.c     sleeping until a vector is posted
 * device.c   /dev/isthmus
 */
#ifndef ISTHMUS_H
#define ISTHMUS_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <asm/irq_vectors.h>

#include "isthmus_ioctl.h"

#if !IS_ENABLED(CONFIG_KVM) || !defined(CONFIG_PREEMPT_NOTIFIERS)
#error "needs the vectors and the preempt notifiers that come with CONFIG_KVM"
#endif

/*
 * UINV. The kernel's own handler of this vector only acknowledges it, so a
 * notification that arrives after its receiver was switched out is harmless.
 */
#define ISTHMUS_UINV POSTED_INTR_VECTOR

/* Of the hypervisor's contract; docs/interfaces.md. */
#define ISTHMUS_ABI_REVISION	2

#define ISTHMUS_MAX_CHANNELS	8
#define ISTHMUS_MAX_CPUS	64
#define ISTHMUS_UPID_SLOTS	32
#define ISTHMUS_USER_VECTORS	64

/* UPID in its slot. (SDM 3A, "User Posted-Interrupt Descriptor (UPID)") */
struct isthmus_upid {
	atomic64_t control;
	atomic64_t pir;
	u64 rest[6];
};
static_assert(sizeof(struct isthmus_upid) == 64);

#define UPID_SN BIT_ULL(1)

/* (SDM 3A, "User-Interrupt Target Table") */
struct isthmus_uitt_entry {
	u64 low;
	u64 upid;
};
static_assert(sizeof(struct isthmus_uitt_entry) == 16);

#define UITT_VALID	BIT_ULL(0)
#define UITT_ENTRIES	(PAGE_SIZE / sizeof(struct isthmus_uitt_entry))

struct isthmus_context;

/* A channel of this cell. Made at load time; only owner and slots change. */
struct isthmus_channel {
	char name[ISTHMUS_NAME_LEN];
	char peer[ISTHMUS_NAME_LEN];
	phys_addr_t base;
	u64 size;
	u32 role;
	u32 doorbell;
	void *control;			/* the part before the ring */
	struct isthmus_context *owner;	/* isthmus_claim_channel() */
	u32 next_slot;			/* under the owner's mutex */
};

struct isthmus_cell {
	u32 id;
	char name[ISTHMUS_NAME_LEN];
	u32 cpu_count;
	u32 cpus[ISTHMUS_MAX_CPUS];	/* APIC IDs */
	u32 channel_count;
	struct isthmus_channel channels[ISTHMUS_MAX_CHANNELS];
};

/*
 * An open file, and the user-interrupt state of the thread bound to it.
 *
 * Everything from @task on is written by the bound thread only (or while there
 * is none, under @mutex), with interrupts off where a context switch reads it.
 * Other threads look at @upid to post there: it changes under a lock.
 */
struct isthmus_context {
	struct kref ref;		/* the open file; the bound thread */
	struct mutex mutex;		/* all ioctls but WAIT and POST */
	struct isthmus_channel *channel; /* set once */

	struct task_struct *task;	/* bound thread */
	struct list_head bound_node;
	struct list_head wait_node;
	struct preempt_notifier notifier;

	struct isthmus_upid *upid;	/* in the channel; NULL: no handler */
	u64 handler;
	u64 stack_adjust;
	u64 requests;			/* UIRR while not loaded */
	bool uif;			/* UIF while not loaded */

	struct isthmus_uitt_entry *uitt; /* a page; NULL: no senders */
	u32 sender_count;

	bool loaded;			/* state is in the CPU's registers */
	bool waiting;			/* is to stay out of them */
	struct isthmus_stats stats;
};

/* cpu.c */
struct isthmus_cpu_state {
	u64 handler;
	u64 stack_adjust;
	u64 pd;
	u64 tt;
	u64 misc;
};

int isthmus_cpu_init(void);
void isthmus_cpu_exit(void);
u64 isthmus_upid_control(u8 nv);
void isthmus_cpu_load(const struct isthmus_cpu_state *state);
void isthmus_cpu_start(u64 requests, bool uif);
void isthmus_cpu_stop(u64 *requests, bool *uif);
void isthmus_cpu_clear(void);
int isthmus_cpu_post(struct isthmus_upid *upid, u32 vector);

/* channel.c */
extern struct isthmus_cell isthmus_cell;

int isthmus_cell_init(void);
void isthmus_cell_exit(void);
long isthmus_cell_exits(u64 *sum);
struct isthmus_upid *isthmus_own_upid(struct isthmus_channel *channel, u32 slot);
struct isthmus_upid *isthmus_peer_upid(struct isthmus_channel *channel, u32 slot);
void isthmus_set_state(struct isthmus_channel *channel, bool ready);
u32 isthmus_peer_state(struct isthmus_channel *channel);

/* context.c */
int isthmus_context_init(void);
void isthmus_context_exit(void);
struct isthmus_context *isthmus_context_new(void);
void isthmus_context_put(struct isthmus_context *ctx);
int isthmus_claim_channel(struct isthmus_context *ctx, u32 index);
int isthmus_bind(struct isthmus_context *ctx);
void isthmus_unbind(struct isthmus_context *ctx);
int isthmus_register_handler(struct isthmus_context *ctx, struct isthmus_handler *arg);
int isthmus_register_sender(struct isthmus_context *ctx, struct isthmus_sender *arg);
int isthmus_unregister_senders(struct isthmus_context *ctx);
int isthmus_post(struct isthmus_context *ctx, u32 vector);
void isthmus_context_load(struct isthmus_context *ctx);
void isthmus_context_unload(struct isthmus_context *ctx);

/* wait.c */
void isthmus_wait_init(void);
void isthmus_wait_exit(void);
int isthmus_wait(struct isthmus_context *ctx, u64 timeout_us);
u64 isthmus_wakeup_interrupts(void);

/* device.c */
int isthmus_device_init(void);
void isthmus_device_exit(void);

#endif /* ISTHMUS_H */
