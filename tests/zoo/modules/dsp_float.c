// SPDX-License-Identifier: GPL-2.0-only
/* V2: SSE instructions. */
int zoo_vector(int seed);

int zoo_vector(int seed)
{
	int result;

	asm volatile("cvtsi2ss %1, %%xmm0\n\taddss %%xmm0, %%xmm0\n\tcvttss2si %%xmm0, %0" : "=r"(result) : "r"(seed));
	return result;
}
