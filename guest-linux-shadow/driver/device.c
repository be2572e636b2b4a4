// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/isthmus: what isthmus_ioctl.h describes. Everything from user space is
 * checked here or, where it takes knowledge of the thing, by the callee.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "isthmus.h"

static long get_cell(void __user *argp)
{
	struct isthmus_cell_info info = {
		.abi_revision = ISTHMUS_ABI_REVISION,
		.cell_id = isthmus_cell.id,
		.cpu_count = isthmus_cell.cpu_count,
		.channel_count = isthmus_cell.channel_count,
	};

	strscpy_pad(info.name, isthmus_cell.name, sizeof(info.name));
	return copy_to_user(argp, &info, sizeof(info)) ? -EFAULT : 0;
}

static long get_channel(void __user *argp)
{
	const struct isthmus_channel *channel;
	struct isthmus_channel_info info;

	if (copy_from_user(&info, argp, sizeof(info)))
		return -EFAULT;
	if (info.index >= isthmus_cell.channel_count)
		return -ENOENT;
	channel = &isthmus_cell.channels[info.index];
	info.role = channel->role;
	info.doorbell = channel->doorbell;
	info.reserved = 0;
	info.size = channel->size;
	strscpy_pad(info.name, channel->name, sizeof(info.name));
	strscpy_pad(info.peer, channel->peer, sizeof(info.peer));
	return copy_to_user(argp, &info, sizeof(info)) ? -EFAULT : 0;
}

static long register_handler(struct isthmus_context *ctx, void __user *argp)
{
	struct isthmus_handler arg;
	int ret;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	ret = isthmus_register_handler(ctx, &arg);
	if (ret)
		return ret;
	return copy_to_user(argp, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long register_sender(struct isthmus_context *ctx, void __user *argp)
{
	struct isthmus_sender arg;
	int ret;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	ret = isthmus_register_sender(ctx, &arg);
	if (ret)
		return ret;
	return copy_to_user(argp, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long unregister(struct isthmus_context *ctx)
{
	if (READ_ONCE(ctx->task) != current)
		return -EPERM;
	isthmus_unbind(ctx);
	return 0;
}

/* The thread that declares readiness is bound: its end takes it back. */
static long set_ready(struct isthmus_context *ctx, u32 ready)
{
	int ret;

	if (ready > 1)
		return -EINVAL;
	ret = isthmus_bind(ctx);
	if (ret)
		return ret;
	isthmus_set_state(ctx->channel, ready);
	return 0;
}

static long get_peer_state(struct isthmus_context *ctx, void __user *argp)
{
	if (!ctx->channel)
		return -EINVAL;
	return put_user(isthmus_peer_state(ctx->channel), (u32 __user *)argp);
}

static long get_stats(struct isthmus_context *ctx, void __user *argp)
{
	struct isthmus_stats stats = ctx->stats;

	stats.wakeup_interrupts = isthmus_wakeup_interrupts();
	return copy_to_user(argp, &stats, sizeof(stats)) ? -EFAULT : 0;
}

static long get_exits(void __user *argp)
{
	u64 sum;
	long ret = isthmus_cell_exits(&sum);

	if (ret)
		return ret;
	return put_user(sum, (u64 __user *)argp);
}

static long ioctl_locked(struct isthmus_context *ctx, unsigned int cmd,
			 void __user *argp)
{
	u32 number;

	switch (cmd) {
	case ISTHMUS_IOC_CELL:
		return get_cell(argp);
	case ISTHMUS_IOC_INFO:
		return get_channel(argp);
	case ISTHMUS_IOC_ATTACH:
		if (get_user(number, (u32 __user *)argp))
			return -EFAULT;
		return isthmus_claim_channel(ctx, number);
	case ISTHMUS_IOC_REGISTER_HANDLER:
		return register_handler(ctx, argp);
	case ISTHMUS_IOC_REGISTER_SENDER:
		return register_sender(ctx, argp);
	case ISTHMUS_IOC_UNREGISTER:
		return unregister(ctx);
	case ISTHMUS_IOC_SET_READY:
		if (get_user(number, (u32 __user *)argp))
			return -EFAULT;
		return set_ready(ctx, number);
	case ISTHMUS_IOC_STATS:
		return get_stats(ctx, argp);
	case ISTHMUS_IOC_EXITS:
		return get_exits(argp);
	case ISTHMUS_IOC_UNREGISTER_SENDERS:
		return isthmus_unregister_senders(ctx);
	case ISTHMUS_IOC_PEER_STATE:
		return get_peer_state(ctx, argp);
	}
	return -ENOTTY;
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct isthmus_context *ctx = file->private_data;
	void __user *argp = (void __user *)arg;
	struct isthmus_wait wait;
	u32 vector;
	long ret;

	if (cmd == ISTHMUS_IOC_POST) {
		if (get_user(vector, (u32 __user *)argp))
			return -EFAULT;
		return isthmus_post(ctx, vector);
	}
	if (cmd == ISTHMUS_IOC_WAIT) {
		if (copy_from_user(&wait, argp, sizeof(wait)))
			return -EFAULT;
		return isthmus_wait(ctx, wait.timeout_us);
	}
	if (mutex_lock_interruptible(&ctx->mutex))
		return -EINTR;
	ret = ioctl_locked(ctx, cmd, argp);
	mutex_unlock(&ctx->mutex);
	return ret;
}

/*
 * Maps the ring region. The UPIDs before it stay the kernel's: through them a
 * program could send any vector anywhere. A child must not inherit the ring.
 */
static int device_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct isthmus_context *ctx = file->private_data;
	unsigned long size = vma->vm_end - vma->vm_start;
	struct isthmus_channel *channel;

	/* Set once and never cleared while the file is open. */
	channel = READ_ONCE(ctx->channel);
	if (!channel || vma->vm_pgoff || size > channel->size - ISTHMUS_RING_OFFSET)
		return -EINVAL;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_flags & VM_EXEC)
		return -EACCES;
	vm_flags_mod(vma, VM_DONTCOPY, VM_MAYEXEC);
	return remap_pfn_range(vma, vma->vm_start,
			       PHYS_PFN(channel->base + ISTHMUS_RING_OFFSET), size,
			       vma->vm_page_prot);
}

static int device_open(struct inode *inode, struct file *file)
{
	struct isthmus_context *ctx = isthmus_context_new();

	if (!ctx)
		return -ENOMEM;
	file->private_data = ctx;
	return 0;
}

/*
 * A thread that is still bound (another one closed the file) keeps its handler
 * and the channel until it ends, but no longer serves.
 */
static int device_release(struct inode *inode, struct file *file)
{
	struct isthmus_context *ctx = file->private_data;

	if (READ_ONCE(ctx->task) == current)
		isthmus_unbind(ctx);
	else if (ctx->channel)
		isthmus_set_state(ctx->channel, false);
	isthmus_context_put(ctx);
	return 0;
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.mmap = device_mmap,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "isthmus",
	.mode = 0600,
	.fops = &device_operations,
};

int isthmus_device_init(void)
{
	return misc_register(&device);
}

void isthmus_device_exit(void)
{
	misc_deregister(&device);
}
