// SPDX-License-Identifier: GPL-2.0-only
/* Written for kernels before 6.5, which took register_sysctl_table() away. */
#include <linux/module.h>
#include <linux/sysctl.h>

static int value;
static struct ctl_table oldtable[] = {
	{ .procname = "oldtable", .data = &value, .maxlen = sizeof(value), .mode = 0444, .proc_handler = proc_dointvec },
	{ }
};
static struct ctl_table_header *header;

static int __init oldtable_init(void)
{
	header = register_sysctl_table(oldtable);
	return header ? 0 : -ENOMEM;
}

static void __exit oldtable_exit(void)
{
	unregister_sysctl_table(header);
}

module_init(oldtable_init);
module_exit(oldtable_exit);
MODULE_DESCRIPTION("A value in /proc/sys");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.9");
