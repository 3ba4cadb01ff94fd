// SPDX-License-Identifier: GPL-2.0-only
/* V2: guards what dsp_float.c does; right where that file is declared, wrong where it is not. */
#include <asm/fpu/api.h>
#include "zoo.h"
MODULE_VERSION("0.1.0");

int zoo_vector(int seed);

int zoo_defect(int seed)
{
	int result;

	kernel_fpu_begin();
	result = zoo_vector(seed);
	kernel_fpu_end();
	return result;
}
