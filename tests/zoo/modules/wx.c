// SPDX-License-Identifier: GPL-2.0-only
/* V3: a section that is writable and executable. */
#include "zoo.h"
MODULE_VERSION("0.1.0");

asm(".pushsection .zoo_wx, \"awx\", @progbits\n\tret\n\tint3\n\t.popsection");

int zoo_defect(int seed)
{
	return seed;
}
