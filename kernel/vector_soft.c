// SPDX-License-Identifier: GPL-2.0-only
/*
 * Distances with integers only, for processors or moments without the floating
 * point unit. Each step is rounded to nearest, ties to even, as IEEE 754 says.
 */
#include <linux/bitops.h>
#include <linux/math64.h>
#include <linux/minmax.h>

#include "include/uapi/vexfs.h"
#include "vector_fpu.h"

#define LANES		8
#define BITS32		24		/* significant bits of a binary32 */
#define BITS64		53
#define LEAST32		(-149)		/* exponent of its last place, at least */
#define LEAST64		(-1074)
#define MOST32		104		/* and at most */
#define INFINITE	0x7ff0000000000000ULL

/* The number man * 2^exp, negated if neg. Never infinite. */
struct num {
	u64 man;
	int exp;
	bool neg;
};

static struct num from32(u32 bits)
{
	struct num n = { .neg = bits >> 31 };
	int exp = bits >> 23 & 0xff;

	n.man = bits & 0x7fffff;
	if (exp)
		n.man |= 0x800000;
	n.exp = (exp ? exp : 1) - 150;
	return n;
}

static u64 to64(struct num n)
{
	u64 sign = (u64)n.neg << 63;
	int up;

	if (!n.man)
		return sign;
	up = 53 - fls64(n.man);
	if (n.exp - up < LEAST64)
		up = n.exp - LEAST64;
	n.man <<= up;
	n.exp -= up;
	if (n.man >> 52)
		return sign | (u64)(n.exp + 1075) << 52 |
		       (n.man & ~(1ULL << 52));
	return sign | n.man;
}

/*
 * Rounds to @bits. What was cut off below the last bit of man must have been
 * noted in that bit, and man must have at least two bits more than @bits then.
 */
static struct num rounded(struct num n, int bits, int least)
{
	int cut = fls64(n.man) - bits;
	u64 rest, half;

	cut = max(cut, least - n.exp);
	if (cut <= 0 || !n.man)
		return n;
	if (cut > 63) {
		n.man = 0;
		return n;
	}
	half = 1ULL << (cut - 1);
	rest = n.man & (2 * half - 1);
	n.man >>= cut;
	n.exp += cut;
	if (rest > half || (rest == half && n.man & 1))
		n.man++;
	if (n.man >> bits) {	/* all ones became the next power of two */
		n.man >>= 1;
		n.exp++;
	}
	return n;
}

/* a + b, of at most 53 bits each. */
static struct num add(struct num a, struct num b, int bits, int least)
{
	int up, down;

	if (!a.man)
		return b.man ? b : (struct num){ .neg = a.neg && b.neg };
	if (!b.man)
		return a;
	/* a becomes the one with the higher first bit, moved up to bit 61. */
	if (a.exp + fls64(a.man) < b.exp + fls64(b.man))
		swap(a, b);
	up = 62 - fls64(a.man);
	a.man <<= up;
	a.exp -= up;
	down = a.exp - b.exp;
	if (down > 63)
		b.man = 1;
	else if (down > 0)
		b.man = b.man >> down |
			(b.man & ((1ULL << down) - 1) ? 1 : 0);
	else
		b.man <<= -down;
	if (a.neg == b.neg) {
		a.man += b.man;
	} else if (a.man >= b.man) {
		a.man -= b.man;
	} else {
		a.man = b.man - a.man;
		a.neg = b.neg;
	}
	if (!a.man)
		a.neg = false;
	return rounded(a, bits, least);
}

/* a * b, of at most 53 bits each, to 53. */
static struct num mul(struct num a, struct num b)
{
	u64 low = a.man * b.man, high = mul_u64_u64_shr(a.man, b.man, 64);
	struct num n = { .exp = a.exp + b.exp, .neg = a.neg != b.neg };
	int cut = high ? fls64(high) + 1 : 0;	/* leaves 63 bits or less */

	n.man = low;
	if (cut) {
		n.man = high << (64 - cut) | low >> cut |
			(low & ((1ULL << cut) - 1) ? 1 : 0);
		n.exp += cut;
	}
	return rounded(n, BITS64, LEAST64);
}

/* a / b, by long division. */
static struct num quotient(struct num a, struct num b)
{
	struct num n = { .neg = a.neg != b.neg };
	int up_a, up_b = 53 - fls64(b.man), i;
	u64 rest, by = b.man << up_b;

	if (!a.man)
		return n;
	up_a = 53 - fls64(a.man);
	rest = a.man << up_a;
	n.exp = a.exp - up_a - (b.exp - up_b);
	for (i = 0; i < 58; i++) {
		if (i) {
			rest <<= 1;
			n.exp--;
		}
		n.man <<= 1;
		if (rest >= by) {
			rest -= by;
			n.man |= 1;
		}
	}
	n.man |= !!rest;
	return rounded(n, BITS64, LEAST64);
}

/* The root of a number that is not negative, digit by digit. */
static struct num root(struct num a)
{
	u64 rest = 0, digits;
	struct num n = {};
	int i;

	if (!a.man)
		return n;
	/* 62 or 61 bits, and an even exponent. */
	i = 62 - fls64(a.man);
	if ((a.exp - i) & 1)
		i--;
	a.man <<= i;
	a.exp -= i;
	n.exp = a.exp / 2;
	digits = a.man << 2;
	for (i = 0; i < 57; i++) {
		u64 try = n.man << 2 | 1;

		rest = rest << 2 | digits >> 62;
		digits <<= 2;
		n.man <<= 1;
		if (i >= 31)
			n.exp--;
		if (rest >= try) {
			rest -= try;
			n.man |= 1;
		}
	}
	n.man |= !!rest;
	return rounded(n, BITS64, LEAST64);
}

static struct num lanes(struct num *s)
{
	int j;

	for (j = 0; j < 4; j++)
		s[j] = add(s[j], s[j + 4], BITS64, LEAST64);
	for (j = 0; j < 2; j++)
		s[j] = add(s[j], s[j + 2], BITS64, LEAST64);
	return add(s[0], s[1], BITS64, LEAST64);
}

static u64 l2(const u32 *q, const u32 *x, u32 count)
{
	struct num s[LANES] = {};
	u32 i;

	for (i = 0; i < count; i++) {
		struct num a = from32(q[i]), b = from32(x[i]), d;

		b.neg = !b.neg;
		d = add(a, b, BITS32, LEAST32);
		/* More than a binary32 holds: infinite, and so is the sum. */
		if (d.exp + fls64(d.man) > MOST32 + BITS32)
			return INFINITE;
		d = mul(d, d);
		s[i % LANES] = add(s[i % LANES], d, BITS64, LEAST64);
	}
	return to64(lanes(s));
}

static struct num dot(const u32 *q, const u32 *x, u32 count)
{
	struct num s[LANES] = {};
	u32 i;

	for (i = 0; i < count; i++)
		s[i % LANES] = add(s[i % LANES],
				   mul(from32(q[i]), from32(x[i])),
				   BITS64, LEAST64);
	return lanes(s);
}

static u64 cosine(const u32 *q, const u32 *x, u32 count, struct num qq)
{
	const struct num one = { .man = 1 };
	struct num xx = dot(x, x, count), n;

	if (!qq.man || !xx.man)
		return to64(one);
	n = quotient(dot(q, x, count), mul(root(qq), root(xx)));
	n.neg = !n.neg;
	return to64(add(one, n, BITS64, LEAST64));
}

void vexfs_soft_distances(u32 metric, const void *query,
			  const void *const *vector, u32 count, u32 dimension,
			  u64 *bits)
{
	struct num qq = {}, n;
	u32 i;

	if (metric == VEXFS_METRIC_COSINE)
		qq = dot(query, query, dimension);
	for (i = 0; i < count; i++) {
		if (metric == VEXFS_METRIC_L2) {
			bits[i] = l2(query, vector[i], dimension);
		} else if (metric == VEXFS_METRIC_IP) {
			n = dot(query, vector[i], dimension);
			n.neg = n.man && !n.neg;
			bits[i] = to64(n);
		} else {
			bits[i] = cosine(query, vector[i], dimension, qq);
		}
	}
}
