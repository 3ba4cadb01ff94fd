// SPDX-License-Identifier: GPL-2.0-only
/* V3: DEBUG left in the source. */
#define DEBUG
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	pr_debug("printed without being asked for\n");
	return seed;
}
