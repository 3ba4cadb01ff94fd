/* SPDX-License-Identifier: GPL-2.0-only */
/* What every specimen has: an init function that uses its defect, so that nothing is optimised away. */
#include <linux/module.h>

noinline int zoo_defect(int seed);

static int __init zoo_init(void)
{
	return zoo_defect(1) == 0x5eed ? -EINVAL : 0;
}

static void __exit zoo_exit(void)
{
}

module_init(zoo_init);
module_exit(zoo_exit);
MODULE_LICENSE("GPL");
