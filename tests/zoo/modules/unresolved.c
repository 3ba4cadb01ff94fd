// SPDX-License-Identifier: GPL-2.0-only
/* V1: needs a symbol that no kernel exports. */
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_no_kernel_has_this(int seed);

int zoo_defect(int seed)
{
	return zoo_no_kernel_has_this(seed);
}
