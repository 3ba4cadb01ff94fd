// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#ifndef BUILT
#define BUILT "always the same"
#endif

int main(void)
{
	puts("tool 1.0, built " BUILT);
	return 0;
}
