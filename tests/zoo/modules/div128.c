// SPDX-License-Identifier: GPL-2.0-only
/* V2: a division for which the compiler calls its own library. */
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	unsigned __int128 wide = (unsigned __int128)seed << 70;

	return wide / (unsigned int)(seed + 2);
}
