// SPDX-License-Identifier: GPL-2.0-only
/* V2: x87 instructions without kernel_fpu_begin(). */
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	int result;

	asm volatile("fildl %1\n\tfadd %%st(0), %%st\n\tfistpl %0" : "=m"(result) : "m"(seed));
	return result;
}
