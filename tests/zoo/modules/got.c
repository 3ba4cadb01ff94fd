// SPDX-License-Identifier: GPL-2.0-only
/* V2: a relocation against a global offset table, which the loader has not. */
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_defect(int seed)
{
	void *address;

	asm volatile("movq _printk@GOTPCREL(%%rip), %0" : "=r"(address));
	return address == (void *)(long)seed;
}
