// SPDX-License-Identifier: GPL-2.0-only
/* The control: nothing is wrong with it. */
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	pr_debug("not printed unless asked for\n");
	return seed;
}
