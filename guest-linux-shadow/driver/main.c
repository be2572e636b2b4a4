// SPDX-License-Identifier: GPL-2.0
/*
 * Isthmus driver: user interrupts on an unmodified kernel, and the channels
 * that the hypervisor gives to this cell.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/module.h>

#include "isthmus.h"

static int __init isthmus_init(void)
{
	int ret;

	ret = isthmus_cell_init();
	if (ret)
		return ret;
	ret = isthmus_cpu_init();
	if (ret)
		goto err_cell;
	ret = isthmus_context_init();
	if (ret)
		goto err_cpu;
	isthmus_wait_init();
	ret = isthmus_device_init();
	if (ret)
		goto err_wait;
	pr_info("cell %u \"%s\": %u CPUs, %u channels\n", isthmus_cell.id,
		isthmus_cell.name, isthmus_cell.cpu_count,
		isthmus_cell.channel_count);
	return 0;

err_wait:
	isthmus_wait_exit();
	isthmus_context_exit();
err_cpu:
	isthmus_cpu_exit();
err_cell:
	isthmus_cell_exit();
	return ret;
}

static void __exit isthmus_exit(void)
{
	/* No file is open and no thread bound: both hold the module. */
	isthmus_device_exit();
	isthmus_wait_exit();
	isthmus_context_exit();
	isthmus_cpu_exit();
	isthmus_cell_exit();
}

module_init(isthmus_init);
module_exit(isthmus_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("User interrupts and channels of an Isthmus cell");
