// SPDX-License-Identifier: GPL-2.0-only
/* V1: no MODULE_VERSION, and so no srcversion. */
#include "zoo.h"

int zoo_defect(int seed)
{
	return seed;
}
