// SPDX-License-Identifier: GPL-2.0
/*
 * Sleeping until a vector is posted.
 *
 * A sleeping thread's UPID names the wake-up vector, so that the first post
 * interrupts this kernel, whose KVM hook for that vector looks which thread to
 * wake. The hook is a single one for the whole machine and its users do not
 * know of each other; CPUs may go offline with a post on its way. Hence the
 * timed re-check beside it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <asm/irq.h>

#include "isthmus.h"

#define RECHECK_MS		250
/* Without the hook, the re-check is what wakes: the price is latency. */
#define RECHECK_ALONE_MS	1
#define MAX_TIMEOUT_US		(24ULL * 3600 * USEC_PER_SEC)

static DEFINE_RAW_SPINLOCK(wait_lock);
static LIST_HEAD(waiters);
static atomic64_t wakeup_interrupts;

static void (*set_wakeup_hook)(void (*handler)(void));

static bool has_posts(const struct isthmus_context *ctx)
{
	return ctx->requests || atomic64_read(&ctx->upid->pir);
}

/* Interrupt context. */
static void wake_receivers(void)
{
	struct isthmus_context *ctx;

	atomic64_inc(&wakeup_interrupts);
	raw_spin_lock(&wait_lock);
	list_for_each_entry(ctx, &waiters, wait_node)
		if (has_posts(ctx)) {
			ctx->stats.wakeups++;
			wake_up_process(ctx->task);
		}
	raw_spin_unlock(&wait_lock);
}

/* From here on posts interrupt this kernel instead of the thread. */
static void start_waiting(struct isthmus_context *ctx)
{
	unsigned long flags;

	local_irq_save(flags);
	isthmus_context_unload(ctx);
	ctx->waiting = true;
	raw_spin_lock(&wait_lock);
	list_add(&ctx->wait_node, &waiters);
	raw_spin_unlock(&wait_lock);
	atomic64_xchg(&ctx->upid->control,
		      isthmus_upid_control(POSTED_INTR_WAKEUP_VECTOR));
	local_irq_restore(flags);
}

static void stop_waiting(struct isthmus_context *ctx)
{
	unsigned long flags;

	local_irq_save(flags);
	raw_spin_lock(&wait_lock);
	list_del(&ctx->wait_node);
	raw_spin_unlock(&wait_lock);
	ctx->waiting = false;
	isthmus_context_load(ctx);
	local_irq_restore(flags);
}

/*
 * Sleeps until there are posts, a signal, or @deadline. The state is set before
 * the posts are looked at: a wake-up in between is not lost.
 */
static int sleep_until_posted(struct isthmus_context *ctx, ktime_t deadline)
{
	unsigned int period = set_wakeup_hook ? RECHECK_MS : RECHECK_ALONE_MS;
	bool slept_out = false;
	ktime_t expires;
	int ret = 0;

	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (has_posts(ctx)) {
			if (slept_out)
				ctx->stats.rechecks_hit++;
			break;
		}
		if (signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (ktime_compare(ktime_get(), deadline) >= 0) {
			ctx->stats.waits_timed_out++;
			ret = -ETIMEDOUT;
			break;
		}
		expires = ktime_add_ms(ktime_get(), period);
		expires = min(expires, deadline);
		slept_out = !schedule_hrtimeout(&expires, HRTIMER_MODE_ABS);
	}
	__set_current_state(TASK_RUNNING);
	return ret;
}

/* Called by the bound thread, which alone ends the binding: no lock needed. */
int isthmus_wait(struct isthmus_context *ctx, u64 timeout_us)
{
	ktime_t deadline = KTIME_MAX;
	int ret;

	if (READ_ONCE(ctx->task) != current)
		return -EPERM;
	if (!ctx->upid || timeout_us > MAX_TIMEOUT_US)
		return -EINVAL;
	if (timeout_us)
		deadline = ktime_add_us(ktime_get(), timeout_us);

	ctx->stats.waits++;
	start_waiting(ctx);
	if (has_posts(ctx))
		ctx->stats.waits_immediate++;
	ret = sleep_until_posted(ctx, deadline);
	stop_waiting(ctx);
	/* One may be a tie with the interrupt. */
	if (set_wakeup_hook && ctx->stats.rechecks_hit > ctx->stats.wakeups + 1)
		pr_warn_once("posts were found by the timed re-check: the wake-up vector is no longer ours (kvm_intel loaded?), or a CPU went offline\n");
	return ret;
}

u64 isthmus_wakeup_interrupts(void)
{
	return atomic64_read(&wakeup_interrupts);
}

/*
 * The hook is looked up at run time, because later kernels may keep it for KVM;
 * this module then still loads and sleeps with the re-check alone.
 */
void isthmus_wait_init(void)
{
	set_wakeup_hook = symbol_get(kvm_set_posted_intr_wakeup_handler);
	if (set_wakeup_hook)
		set_wakeup_hook(wake_receivers);
	else
		pr_warn("no hook for the wake-up vector: sleeping receivers look every %u ms\n",
			RECHECK_ALONE_MS);
}

void isthmus_wait_exit(void)
{
	if (!set_wakeup_hook)
		return;
	set_wakeup_hook(NULL);	/* waits until nobody runs it */
	symbol_put(kvm_set_posted_intr_wakeup_handler);
}
