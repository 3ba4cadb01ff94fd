// SPDX-License-Identifier: GPL-2.0-only
/* V3: DEBUG left in Kbuild. */
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	return seed;
}
