// SPDX-License-Identifier: GPL-2.0-only
/* Counts seconds in the background, for no purpose but to be a module of two files. */
#include <linux/module.h>

#include "heartbeat.h"

static int __init heartbeat_init(void)
{
	return heartbeat_start();
}

static void __exit heartbeat_exit(void)
{
	heartbeat_stop();
}

module_init(heartbeat_init);
module_exit(heartbeat_exit);
MODULE_DESCRIPTION("Counts seconds");
MODULE_LICENSE("GPL");
MODULE_VERSION("1.4");
