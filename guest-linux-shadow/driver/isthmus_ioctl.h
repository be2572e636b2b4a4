/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * ioctls of /dev/isthmus: user interrupts and channels of an Isthmus cell.
 *
 * An open file holds at most one channel (ATTACH), from then until its last
 * descriptor is closed and its mapping is gone. The thread that registers a
 * handler or a sender, or that declares the side ready, is bound to the file:
 * its user-interrupt state is switched with it, and only it may use WAIT and
 * the calls that register and unregister. Any thread may POST to it. The
 * binding ends by UNREGISTER, by exec and by the thread's end; the driver then
 * clears the side's state word and suppresses notifications to its UPID.
 *
 * mmap() with MAP_SHARED and offset 0 maps the ring region of the attached
 * channel, which is the channel without its first ISTHMUS_RING_OFFSET bytes.
 *
 * Fields called "reserved" must be 0. Errors of all calls: EFAULT, ENOTTY,
 * EINVAL. The device serves 64-bit programs only, as user interrupts do.
 */
#ifndef ISTHMUS_IOCTL_H
#define ISTHMUS_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define ISTHMUS_NAME_LEN	32
#define ISTHMUS_RING_OFFSET	0x3000

#define ISTHMUS_ROLE_CLIENT	0
#define ISTHMUS_ROLE_SERVER	1
#define ISTHMUS_DOORBELL_DIRECT		0
#define ISTHMUS_DOORBELL_FILTERED	1

/* This cell. */
struct isthmus_cell_info {
	__u32 abi_revision;
	__u32 cell_id;
	__u32 cpu_count;
	__u32 channel_count;
	char name[ISTHMUS_NAME_LEN];
};

/* A channel of this cell. */
struct isthmus_channel_info {
	__u32 index;		/* in; ENOENT if there is none */
	__u32 role;		/* this cell's, ISTHMUS_ROLE_* */
	__u32 doorbell;		/* ISTHMUS_DOORBELL_* */
	__u32 reserved;
	__u64 size;		/* of the whole channel, in bytes */
	char name[ISTHMUS_NAME_LEN];
	char peer[ISTHMUS_NAME_LEN];
};

/*
 * A user-interrupt handler for the calling thread. Delivery starts with UIF
 * clear: the thread uses STUI when it is ready.
 */
struct isthmus_handler {
	__u64 handler;		/* in: address of the handler */
	__u64 stack_adjust;	/* in: IA32_UINTR_STACKADJUST */
	__u32 slot;		/* out: UPID slot among this side's */
	__u32 reserved;
};

/* A target for SENDUIPI by the calling thread. */
struct isthmus_sender {
	__u32 slot;		/* in: UPID slot among the other side's */
	__u32 vector;		/* in: user vector, 0 to 63 */
	__u32 index;		/* out: operand of SENDUIPI */
	__u32 reserved;
};

struct isthmus_wait {
	__u64 timeout_us;	/* 0: none; at most a day */
};

/* Counters of the file. */
struct isthmus_stats {
	__u64 switches_in;	/* bound thread came onto a CPU */
	__u64 switches_out;
	__u64 posts_at_switch;	/* switch-ins that found vectors posted */
	__u64 pending_at_switch; /* switch-outs with undelivered vectors */
	__u64 waits;
	__u64 waits_immediate;	/* there was something already */
	__u64 wakeups;		/* by the wake-up vector */
	__u64 rechecks_hit;	/* found by the timed re-check instead */
	__u64 waits_timed_out;
	__u64 wakeup_interrupts; /* of the whole driver */
};

#define ISTHMUS_IOC_MAGIC 0xe8

#define ISTHMUS_IOC_CELL \
	_IOR(ISTHMUS_IOC_MAGIC, 0, struct isthmus_cell_info)
#define ISTHMUS_IOC_INFO \
	_IOWR(ISTHMUS_IOC_MAGIC, 1, struct isthmus_channel_info)
/* Channel index. ENOENT; EBUSY: held by another file; EEXIST: by this one. */
#define ISTHMUS_IOC_ATTACH \
	_IOW(ISTHMUS_IOC_MAGIC, 2, __u32)
/* EBUSY: a handler is registered, or another thread is bound. */
#define ISTHMUS_IOC_REGISTER_HANDLER \
	_IOWR(ISTHMUS_IOC_MAGIC, 3, struct isthmus_handler)
/*
 * EBUSY: another thread is bound. ENOSPC. A slot and vector that are registered
 * already have the index that they had.
 */
#define ISTHMUS_IOC_REGISTER_SENDER \
	_IOWR(ISTHMUS_IOC_MAGIC, 4, struct isthmus_sender)
/* Ends the binding. EPERM: the caller is not bound. */
#define ISTHMUS_IOC_UNREGISTER \
	_IO(ISTHMUS_IOC_MAGIC, 5)
/*
 * Sleeps until a user vector is posted or pending. EPERM: the caller is not
 * bound; EINTR: a signal; ETIMEDOUT. Call it with UIF clear, after looking for
 * work: what was posted since is seen, and delivered after STUI.
 */
#define ISTHMUS_IOC_WAIT \
	_IOW(ISTHMUS_IOC_MAGIC, 6, struct isthmus_wait)
/* 1: this side serves the channel; 0: it does not. */
#define ISTHMUS_IOC_SET_READY \
	_IOW(ISTHMUS_IOC_MAGIC, 7, __u32)
#define ISTHMUS_IOC_STATS \
	_IOR(ISTHMUS_IOC_MAGIC, 8, struct isthmus_stats)
/*
 * VM exits of all CPUs of this cell since it started, with those that reading
 * them takes: one for each CPU. EIO: the hypervisor refused.
 */
#define ISTHMUS_IOC_EXITS \
	_IOR(ISTHMUS_IOC_MAGIC, 9, __u64)

/*
 * Posts a user vector to the bound thread, as SENDUIPI would: for threads that
 * are not bound, which have no targets. ESRCH: no handler is registered; EIO:
 * the UPID is damaged, nothing was posted.
 */
#define ISTHMUS_IOC_POST \
	_IOW(ISTHMUS_IOC_MAGIC, 10, __u32)
/* Takes the thread's senders away. EPERM: the caller is not bound. */
#define ISTHMUS_IOC_UNREGISTER_SENDERS \
	_IO(ISTHMUS_IOC_MAGIC, 11)
/* State word of the channel's other side: 1 if it is ready. EINVAL: no channel. */
#define ISTHMUS_IOC_PEER_STATE \
	_IOR(ISTHMUS_IOC_MAGIC, 12, __u32)

#endif /* ISTHMUS_IOCTL_H */
