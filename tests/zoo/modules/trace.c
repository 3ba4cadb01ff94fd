// SPDX-License-Identifier: GPL-2.0-only
/* V3: trace_printk() left in. */
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	trace_printk("seed %d\n", seed);
	return seed;
}
