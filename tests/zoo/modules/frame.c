// SPDX-License-Identifier: GPL-2.0-only
/* V3: a stack frame over 2 KiB. */
#include <linux/string.h>
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	char large[3000];

	memset(large, seed, sizeof(large));
	OPTIMIZER_HIDE_VAR(seed);
	barrier_data(large);
	return large[seed & 7];
}
