// SPDX-License-Identifier: GPL-2.0-only
/* V2: converts the bits of a float through the compiler's own library, as objects built with -msoft-float do. */
#include "zoo.h"
MODULE_VERSION("0.1.0");

unsigned int __fixunssfsi(unsigned int bits);

int zoo_defect(int seed)
{
	return __fixunssfsi(seed);
}
