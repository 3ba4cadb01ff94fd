// SPDX-License-Identifier: GPL-2.0-only
/* V3: a stack frame whose size is known only at run time. */
#include <linux/string.h>
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	char *any = __builtin_alloca(seed);

	memset(any, 0, seed);
	barrier_data(any);
	return any[0];
}
