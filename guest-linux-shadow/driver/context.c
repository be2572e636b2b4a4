// SPDX-License-Identifier: GPL-2.0
/*
 * The user-interrupt state of a thread, and how it is switched with the thread.
 *
 * The kernel knows nothing of this state: XSAVES leaves it alone, because
 * IA32_XSS does not name it. A preempt notifier of the bound thread moves it
 * between the CPU and the context. While the thread is off the CPU, SN in its
 * UPID keeps posts quiet; they are picked up when it comes back.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/binfmts.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/tracepoint.h>
#include <linux/version.h>

#include "isthmus.h"

/*
 * Protects the list, the owners of the channels, and the UPIDs of contexts from
 * being given up while somebody posts. Never held across a call that sleeps.
 */
static DEFINE_RAW_SPINLOCK(lock);
static LIST_HEAD(bound_contexts);

/*
 * /sys/module/isthmus/parameters: what is in use now. Who looks after a process
 * has ended, however it has, finds nothing of it.
 */
enum { ATTACHED, RECEIVERS, SENDERS };
static const int attached = ATTACHED, receivers = RECEIVERS, senders = SENDERS;

static int count_in_use(char *buffer, const struct kernel_param *param)
{
	u32 counts[] = { 0, 0, 0 };
	struct isthmus_context *ctx;
	u32 i;

	raw_spin_lock(&lock);
	for (i = 0; i < isthmus_cell.channel_count; i++)
		counts[ATTACHED] += !!isthmus_cell.channels[i].owner;
	list_for_each_entry(ctx, &bound_contexts, bound_node) {
		counts[RECEIVERS] += !!ctx->upid;
		counts[SENDERS] += READ_ONCE(ctx->sender_count);
	}
	raw_spin_unlock(&lock);
	return sysfs_emit(buffer, "%u\n", counts[*(const int *)param->arg]);
}

static const struct kernel_param_ops in_use_ops = { .get = count_in_use };
module_param_cb(attached, &in_use_ops, (void *)&attached, 0444);
MODULE_PARM_DESC(attached, "channels that a process has attached");
module_param_cb(receivers, &in_use_ops, (void *)&receivers, 0444);
MODULE_PARM_DESC(receivers, "UPID slots in use");
module_param_cb(senders, &in_use_ops, (void *)&senders, 0444);
MODULE_PARM_DESC(senders, "UITT entries in use");

static struct tracepoint *exit_tracepoint;
static struct tracepoint *exec_tracepoint;

/* Brings the state onto this CPU. Interrupts are off, current is the thread. */
void isthmus_context_load(struct isthmus_context *ctx)
{
	struct isthmus_cpu_state state = {};
	u64 posted;

	if (ctx->uitt) {
		state.tt = (u64)ctx->uitt | UITT_VALID;
		state.misc = UITT_ENTRIES - 1;
	}
	if (ctx->upid) {
		state.handler = ctx->handler;
		state.stack_adjust = ctx->stack_adjust;
		state.pd = (u64)ctx->upid;
		state.misc |= (u64)ISTHMUS_UINV << 32;
		/* Posts notify this CPU from now on; the vector waits for IF. */
		atomic64_xchg(&ctx->upid->control, isthmus_upid_control(ISTHMUS_UINV));
	}
	isthmus_cpu_load(&state);
	if (ctx->upid) {
		/*
		 * After ON and SN were cleared: what is posted later notifies
		 * anew, what was posted before is taken here.
		 */
		posted = atomic64_xchg(&ctx->upid->pir, 0);
		if (posted)
			ctx->stats.posts_at_switch++;
		isthmus_cpu_start(ctx->requests | posted, ctx->uif);
		ctx->requests = 0;
	}
	ctx->loaded = true;
}

/* Takes the state off this CPU. Interrupts are off, current is the thread. */
void isthmus_context_unload(struct isthmus_context *ctx)
{
	if (!ctx->loaded)
		return;
	if (ctx->upid) {
		atomic64_or(UPID_SN, &ctx->upid->control);
		isthmus_cpu_stop(&ctx->requests, &ctx->uif);
		if (ctx->requests)
			ctx->stats.pending_at_switch++;
	}
	isthmus_cpu_clear();
	ctx->loaded = false;
}

/* Interrupts are on here. */
static void sched_in(struct preempt_notifier *notifier, int cpu)
{
	struct isthmus_context *ctx =
		container_of(notifier, struct isthmus_context, notifier);
	unsigned long flags;

	local_irq_save(flags);
	ctx->stats.switches_in++;
	if (!ctx->waiting)
		isthmus_context_load(ctx);
	local_irq_restore(flags);
}

/* Interrupts are off here. */
static void sched_out(struct preempt_notifier *notifier, struct task_struct *next)
{
	struct isthmus_context *ctx =
		container_of(notifier, struct isthmus_context, notifier);

	ctx->stats.switches_out++;
	isthmus_context_unload(ctx);
}

static struct preempt_ops switch_ops = {
	.sched_in = sched_in,
	.sched_out = sched_out,
};

struct isthmus_context *isthmus_context_new(void)
{
	struct isthmus_context *ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);

	if (!ctx)
		return NULL;
	kref_init(&ctx->ref);
	mutex_init(&ctx->mutex);
	preempt_notifier_init(&ctx->notifier, &switch_ops);
	return ctx;
}

/* May run in a tracepoint: does not sleep. */
static void context_free(struct kref *ref)
{
	struct isthmus_context *ctx = container_of(ref, struct isthmus_context, ref);

	if (ctx->channel) {
		raw_spin_lock(&lock);
		ctx->channel->owner = NULL;
		raw_spin_unlock(&lock);
	}
	kfree(ctx);
}

void isthmus_context_put(struct isthmus_context *ctx)
{
	kref_put(&ctx->ref, context_free);
}

/* Under ctx->mutex. The channel stays claimed until the context is freed. */
int isthmus_claim_channel(struct isthmus_context *ctx, u32 index)
{
	struct isthmus_channel *channel;
	int ret = 0;

	if (ctx->channel)
		return -EEXIST;
	if (index >= isthmus_cell.channel_count)
		return -ENOENT;
	channel = &isthmus_cell.channels[index];
	raw_spin_lock(&lock);
	if (channel->owner)
		ret = -EBUSY;
	else
		channel->owner = ctx;
	raw_spin_unlock(&lock);
	if (!ret)
		ctx->channel = channel;
	return ret;
}

static bool is_bound(const struct task_struct *task)
{
	struct isthmus_context *ctx;

	list_for_each_entry(ctx, &bound_contexts, bound_node)
		if (ctx->task == task)
			return true;
	return false;
}

/*
 * Under ctx->mutex. Binds the current thread, if it is not bound already. A
 * thread has one set of registers, so it can be bound to one file only.
 */
int isthmus_bind(struct isthmus_context *ctx)
{
	struct task_struct *task = READ_ONCE(ctx->task);
	bool busy;

	if (!ctx->channel)
		return -EINVAL;
	if (task)
		return task == current ? 0 : -EBUSY;
	ctx->stats = (struct isthmus_stats){};
	ctx->requests = 0;
	ctx->uif = false;

	raw_spin_lock(&lock);
	busy = is_bound(current);
	if (!busy) {
		WRITE_ONCE(ctx->task, current);
		list_add(&ctx->bound_node, &bound_contexts);
	}
	raw_spin_unlock(&lock);
	if (busy)
		return -EBUSY;

	/* The thread may outlive the file; its notifier is this module's code. */
	__module_get(THIS_MODULE);
	kref_get(&ctx->ref);
	preempt_disable();
	preempt_notifier_register(&ctx->notifier);
	preempt_enable();
	return 0;
}

/* Nobody posts to the old one any more when this returns. */
static void set_upid(struct isthmus_context *ctx, struct isthmus_upid *upid)
{
	raw_spin_lock(&lock);
	ctx->upid = upid;
	raw_spin_unlock(&lock);
}

/*
 * Ends the binding of the current thread. May run in a tracepoint: does not
 * sleep. A sender that still names the UPID finds it suppressed, until a later
 * owner of the slot clears it; the slot is memory of the channel and stays.
 */
void isthmus_unbind(struct isthmus_context *ctx)
{
	unsigned long flags;

	preempt_disable();
	preempt_notifier_unregister(&ctx->notifier);
	local_irq_save(flags);
	isthmus_context_unload(ctx);
	local_irq_restore(flags);
	preempt_enable();

	isthmus_set_state(ctx->channel, false);
	if (ctx->upid)
		atomic64_xchg(&ctx->upid->control, UPID_SN);
	set_upid(ctx, NULL);
	free_page((unsigned long)ctx->uitt);
	ctx->uitt = NULL;
	ctx->sender_count = 0;

	raw_spin_lock(&lock);
	list_del(&ctx->bound_node);
	WRITE_ONCE(ctx->task, NULL);
	raw_spin_unlock(&lock);
	isthmus_context_put(ctx);
	module_put(THIS_MODULE);
}

/* Gives the loaded thread a handler. */
static void install_handler(struct isthmus_context *ctx, struct isthmus_upid *upid,
			    const struct isthmus_handler *arg)
{
	unsigned long flags;

	local_irq_save(flags);
	isthmus_context_unload(ctx);
	set_upid(ctx, upid);
	ctx->handler = arg->handler;
	ctx->stack_adjust = arg->stack_adjust;
	isthmus_context_load(ctx);
	local_irq_restore(flags);
}

/* Gives the loaded thread a table of senders. */
static void install_uitt(struct isthmus_context *ctx, struct isthmus_uitt_entry *uitt)
{
	unsigned long flags;

	local_irq_save(flags);
	isthmus_context_unload(ctx);
	ctx->uitt = uitt;
	isthmus_context_load(ctx);
	local_irq_restore(flags);
}

/* Under ctx->mutex. */
int isthmus_register_handler(struct isthmus_context *ctx, struct isthmus_handler *arg)
{
	struct isthmus_upid *upid;
	int ret;

	if (arg->handler >= TASK_SIZE_MAX || arg->stack_adjust >= TASK_SIZE_MAX ||
	    arg->slot || arg->reserved)
		return -EINVAL;
	ret = isthmus_bind(ctx);
	if (ret)
		return ret;
	if (ctx->upid)
		return -EBUSY;

	/* Not the last owner's slot: its peer may still post there for a while. */
	arg->slot = ctx->channel->next_slot++ % ISTHMUS_UPID_SLOTS;
	upid = isthmus_own_upid(ctx->channel, arg->slot);
	atomic64_xchg(&upid->control, UPID_SN);
	atomic64_xchg(&upid->pir, 0);
	memset(upid->rest, 0, sizeof(upid->rest));
	install_handler(ctx, upid, arg);
	return 0;
}

/* Under ctx->mutex. */
int isthmus_register_sender(struct isthmus_context *ctx, struct isthmus_sender *arg)
{
	struct isthmus_uitt_entry *uitt;
	u64 low = (u64)arg->vector << 8 | UITT_VALID;
	u64 upid;
	int ret;

	if (arg->slot >= ISTHMUS_UPID_SLOTS || arg->vector >= ISTHMUS_USER_VECTORS ||
	    arg->index || arg->reserved)
		return -EINVAL;
	ret = isthmus_bind(ctx);
	if (ret)
		return ret;
	upid = (u64)isthmus_peer_upid(ctx->channel, arg->slot);
	for (; arg->index < ctx->sender_count; arg->index++) {
		uitt = &ctx->uitt[arg->index];
		if (uitt->low == low && uitt->upid == upid)
			return 0;
	}
	if (ctx->sender_count >= UITT_ENTRIES)
		return -ENOSPC;
	if (!ctx->uitt) {
		uitt = (struct isthmus_uitt_entry *)get_zeroed_page(GFP_KERNEL);
		if (!uitt)
			return -ENOMEM;
		install_uitt(ctx, uitt);
	}
	arg->index = ctx->sender_count++;
	uitt = &ctx->uitt[arg->index];
	uitt->upid = upid;
	/* Valid last: the thread may try any index at any time. */
	smp_store_release(&uitt->low, low);
	return 0;
}

/* Under ctx->mutex. */
int isthmus_unregister_senders(struct isthmus_context *ctx)
{
	struct isthmus_uitt_entry *uitt = ctx->uitt;

	if (READ_ONCE(ctx->task) != current)
		return -EPERM;
	install_uitt(ctx, NULL);
	ctx->sender_count = 0;
	free_page((unsigned long)uitt);
	return 0;
}

/*
 * Posts to the bound thread, for any thread that has the file. The binding may
 * end meanwhile; its UPID is not given to another before this is over.
 */
int isthmus_post(struct isthmus_context *ctx, u32 vector)
{
	unsigned long flags;
	int ret = -ESRCH;

	if (vector >= ISTHMUS_USER_VECTORS)
		return -EINVAL;
	local_irq_save(flags);
	raw_spin_lock(&lock);
	if (ctx->upid)
		ret = isthmus_cpu_post(ctx->upid, vector);
	raw_spin_unlock(&lock);
	local_irq_restore(flags);
	return ret;
}

static void unbind_current(void)
{
	struct isthmus_context *ctx, *found = NULL;

	raw_spin_lock(&lock);
	list_for_each_entry(ctx, &bound_contexts, bound_node)
		if (ctx->task == current)
			found = ctx;
	raw_spin_unlock(&lock);
	/* It stays: only the bound thread ends its binding. */
	if (found)
		isthmus_unbind(found);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
static void on_exit(void *data, struct task_struct *task, bool group_dead)
#else
static void on_exit(void *data, struct task_struct *task)
#endif
{
	unbind_current();
}

static void on_exec(void *data, struct task_struct *task, pid_t old_pid,
		    struct linux_binprm *bprm)
{
	unbind_current();
}

/* The tracepoints are not exported; by name they can be found. */
static void find_tracepoint(struct tracepoint *tracepoint, void *data)
{
	if (!strcmp(tracepoint->name, "sched_process_exit"))
		exit_tracepoint = tracepoint;
	if (!strcmp(tracepoint->name, "sched_process_exec"))
		exec_tracepoint = tracepoint;
}

int isthmus_context_init(void)
{
	int ret;

	for_each_kernel_tracepoint(find_tracepoint, NULL);
	if (!exit_tracepoint || !exec_tracepoint) {
		pr_err("this kernel lacks the tracepoints sched_process_exit and _exec\n");
		return -ENOENT;
	}
	ret = tracepoint_probe_register(exit_tracepoint, on_exit, NULL);
	if (ret)
		return ret;
	ret = tracepoint_probe_register(exec_tracepoint, on_exec, NULL);
	if (ret) {
		tracepoint_probe_unregister(exit_tracepoint, on_exit, NULL);
		tracepoint_synchronize_unregister();
		return ret;
	}
	preempt_notifier_inc();
	return 0;
}

void isthmus_context_exit(void)
{
	tracepoint_probe_unregister(exit_tracepoint, on_exit, NULL);
	tracepoint_probe_unregister(exec_tracepoint, on_exec, NULL);
	/* A probe may have put the last reference and not returned yet. */
	tracepoint_synchronize_unregister();
	preempt_notifier_dec();
}
