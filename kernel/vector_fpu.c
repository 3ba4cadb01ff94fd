// SPDX-License-Identifier: GPL-2.0-only
/*
 * Distances with the floating point unit: the only file of the module that
 * uses it (`floating_point` in vexci.yaml; Kbuild gives it flags of its own).
 * Plain C in eight lanes, which the compiler turns into vector instructions;
 * each operation is rounded as written, so the result is the same anywhere.
 */
#include <linux/compiler.h>

#include "include/uapi/vexfs.h"
#include "vector_fpu.h"

#define LANES	8

/* Four floats where they lie, and two doubles: half as many, as wide. */
typedef float floats __attribute__((vector_size(16)));
typedef floats unaligned_floats __aligned(4);
typedef double doubles __attribute__((vector_size(16)));

union lanes {
	doubles v[LANES / 2];
	double s[LANES];
};

static __always_inline floats load(const float *p)
{
	return *(const unaligned_floats *)p;
}

/* gcc 12 widens element by element where it is asked in C. */
static __always_inline doubles low(floats v)
{
	doubles d;

	asm("cvtps2pd %1, %0" : "=x" (d) : "x" (v));
	return d;
}

static __always_inline doubles high(floats v)
{
	floats h;

	asm("pshufd $0xee, %1, %0" : "=x" (h) : "x" (v));
	return low(h);
}

static double sum(double *s)
{
	int j;

	for (j = 0; j < 4; j++)
		s[j] += s[j + 4];
	for (j = 0; j < 2; j++)
		s[j] += s[j + 2];
	return s[0] + s[1];
}

static double l2(const float *q, const float *x, u32 n)
{
	doubles a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	union lanes lanes;
	u64 i, j;

	for (i = 0; i + LANES <= n; i += LANES) {
		floats e = load(q + i) - load(x + i);
		floats f = load(q + i + 4) - load(x + i + 4);

		a += low(e) * low(e);
		b += high(e) * high(e);
		c += low(f) * low(f);
		d += high(f) * high(f);
	}
	lanes = (union lanes){ { a, b, c, d } };
	for (j = 0; i < n; i++, j++) {
		float e = q[i] - x[i];

		lanes.s[j] += (double)e * e;
	}
	return sum(lanes.s);
}

static double dot(const float *q, const float *x, u32 n)
{
	doubles a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	union lanes lanes;
	u64 i, j;

	for (i = 0; i + LANES <= n; i += LANES) {
		floats e = load(q + i), f = load(q + i + 4);
		floats g = load(x + i), h = load(x + i + 4);

		a += low(e) * low(g);
		b += high(e) * high(g);
		c += low(f) * low(h);
		d += high(f) * high(h);
	}
	lanes = (union lanes){ { a, b, c, d } };
	for (j = 0; i < n; i++, j++)
		lanes.s[j] += (double)q[i] * x[i];
	return sum(lanes.s);
}

static __always_inline double root(double v)
{
	asm("sqrtsd %0, %0" : "+x" (v));
	return v;
}

static double cosine(const float *q, const float *x, u32 n, double qq)
{
	double xx = dot(x, x, n);

	if (qq == 0 || xx == 0)
		return 1;
	return 1 - dot(q, x, n) / (root(qq) * root(xx));
}

void vexfs_fpu_distances(u32 metric, const void *query,
			 const void *const *vector, u32 count, u32 dimension,
			 u64 *bits)
{
	union {
		double d;
		u64 bits;
	} v;
	double qq = metric == VEXFS_METRIC_COSINE ?
		    dot(query, query, dimension) : 0;
	u32 i;

	for (i = 0; i < count; i++) {
		if (metric == VEXFS_METRIC_L2)
			v.d = l2(query, vector[i], dimension);
		else if (metric == VEXFS_METRIC_IP)
			v.d = 0 - dot(query, vector[i], dimension);
		else
			v.d = cosine(query, vector[i], dimension, qq);
		bits[i] = v.bits;
	}
}
