// SPDX-License-Identifier: GPL-2.0-only
/*
 * Search: every live vector is compared (format.md, 12.4). The vectors are
 * taken from the page cache, some pages at a time; only the comparing of what
 * was gathered runs with the floating point unit, for some microseconds.
 */
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>
#include <linux/sort.h>

#include "vector.h"
#include "vector_fpu.h"

#ifdef CONFIG_X86_64
#include <asm/fpu/api.h>

static bool vexfs_use_fpu = true;
module_param_named(fpu, vexfs_use_fpu, bool, 0644);
MODULE_PARM_DESC(fpu, "compare vectors with the floating point unit, not with integers (default: true)");
#endif

#define VEXFS_GATHER_PAGES	8	/* about 10 us, also of a slow machine */
#define VEXFS_GATHER_BYTES	(VEXFS_GATHER_PAGES * PAGE_SIZE)
#define VEXFS_GATHER_VECTORS	512

/* A hit; key puts distances in order as integers. */
struct vexfs_found {
	u64 key;
	u64 ino;
};

struct vexfs_scan {
	struct vexfs_collection *coll;
	const struct vexfs_ioc_search *req;
	struct file_ra_state ra;
	struct vexfs_found after;
	struct vexfs_found *heap;	/* the worst first */
	u32 found;
	u32 count;			/* gathered */
	u32 folios;
	u32 copied;			/* bytes of copy in use */
	struct folio *folio[VEXFS_GATHER_PAGES];
	u32 ino[VEXFS_GATHER_VECTORS];
	const void *vector[VEXFS_GATHER_VECTORS];
	u64 bits[VEXFS_GATHER_VECTORS];
	u8 copy[VEXFS_GATHER_BYTES];	/* vectors that lie in several pages */
};

static u64 vexfs_distance_key(u64 bits)
{
	return bits >> 63 ? ~bits : bits | 1ULL << 63;
}

static u64 vexfs_distance_bits(u64 key)
{
	return key >> 63 ? key & ~(1ULL << 63) : ~key;
}

static bool vexfs_before(const struct vexfs_found *a,
			 const struct vexfs_found *b)
{
	return a->key < b->key || (a->key == b->key && a->ino < b->ino);
}

static int vexfs_found_compare(const void *a, const void *b)
{
	return vexfs_before(a, b) ? -1 : vexfs_before(b, a);
}

/* Puts @f at the top of the heap, and down to where it belongs. */
static void vexfs_heap_down(struct vexfs_scan *s, struct vexfs_found f)
{
	u32 at = 0, child;

	while ((child = 2 * at + 1) < s->found) {
		if (child + 1 < s->found &&
		    vexfs_before(&s->heap[child], &s->heap[child + 1]))
			child++;
		if (!vexfs_before(&f, &s->heap[child]))
			break;
		s->heap[at] = s->heap[child];
		at = child;
	}
	s->heap[at] = f;
}

static void vexfs_heap_up(struct vexfs_scan *s, struct vexfs_found f)
{
	u32 at = s->found++;

	while (at && vexfs_before(&s->heap[(at - 1) / 2], &f)) {
		s->heap[at] = s->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	s->heap[at] = f;
}

static void vexfs_offer(struct vexfs_scan *s, struct vexfs_found f)
{
	if (s->req->flags & VEXFS_SEARCH_AFTER && !vexfs_before(&s->after, &f))
		return;
	if (s->found < s->req->k)
		vexfs_heap_up(s, f);
	else if (vexfs_before(&f, &s->heap[0]))
		vexfs_heap_down(s, f);
}

static void vexfs_compare(struct vexfs_scan *s)
{
	const struct vexfs_collection *coll = s->coll;

#ifdef CONFIG_X86_64
	if (READ_ONCE(vexfs_use_fpu) && boot_cpu_has(X86_FEATURE_XMM2)) {
		kernel_fpu_begin();
		vexfs_fpu_distances(coll->metric, s->req->u.query, s->vector,
				    s->count, coll->dimension, s->bits);
		kernel_fpu_end();
		return;
	}
#endif
	vexfs_soft_distances(coll->metric, s->req->u.query, s->vector,
			     s->count, coll->dimension, s->bits);
}

/* Compares what was gathered, and lets go of it. */
static void vexfs_gathered(struct vexfs_scan *s)
{
	u32 i;

	if (s->count) {
		vexfs_compare(s);
		for (i = 0; i < s->count; i++)
			vexfs_offer(s, (struct vexfs_found) {
				.key = vexfs_distance_key(s->bits[i]),
				.ino = s->ino[i],
			});
	}
	for (i = 0; i < s->folios; i++)
		folio_put(s->folio[i]);
	s->count = 0;
	s->folios = 0;
	s->copied = 0;
	cond_resched();
}

/* The page at @index, held until vexfs_gathered(). */
static struct folio *vexfs_scan_folio(struct vexfs_scan *s, pgoff_t index)
{
	struct address_space *mapping = s->coll->store->i_mapping;
	pgoff_t last = (i_size_read(s->coll->store) - 1) >> PAGE_SHIFT;
	struct folio *folio;

	if (s->folios && s->folio[s->folios - 1]->index == index)
		return s->folio[s->folios - 1];
	folio = filemap_get_folio(mapping, index);
	if (IS_ERR_OR_NULL(folio) || !folio_test_uptodate(folio)) {
		if (!IS_ERR_OR_NULL(folio))
			folio_put(folio);
		else
			page_cache_sync_readahead(mapping, &s->ra, NULL, index,
						  min_t(pgoff_t, 256,
							last - index + 1));
		folio = read_mapping_folio(mapping, index, NULL);
		if (IS_ERR(folio))
			return folio;
	}
	s->folio[s->folios++] = folio;
	return folio;
}

static int vexfs_gather(struct vexfs_scan *s, u32 slot)
{
	u64 pos = (u64)slot * s->coll->stride;
	u32 left = vexfs_vector_bytes(s->coll), offset = offset_in_page(pos);
	u32 pages = (offset + left + PAGE_SIZE - 1) >> PAGE_SHIFT;
	pgoff_t index = pos >> PAGE_SHIFT;
	struct folio *folio;

	if (s->count == VEXFS_GATHER_VECTORS ||
	    s->folios + pages > VEXFS_GATHER_PAGES ||
	    s->copied + left > VEXFS_GATHER_BYTES)
		vexfs_gathered(s);
	folio = vexfs_scan_folio(s, index);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	s->ino[s->count] = s->coll->ino[slot];
	if (pages == 1) {
		s->vector[s->count++] = folio_address(folio) + offset;
		return 0;
	}
	s->vector[s->count] = s->copy + s->copied;
	while (true) {
		u32 part = min_t(u32, left, PAGE_SIZE - offset);

		memcpy(s->copy + s->copied, folio_address(folio) + offset,
		       part);
		s->copied += part;
		left -= part;
		if (!left)
			break;
		offset = 0;
		folio = vexfs_scan_folio(s, ++index);
		if (IS_ERR(folio))
			return PTR_ERR(folio);
	}
	s->count++;
	return 0;
}

static int vexfs_scan(struct vexfs_scan *s)
{
	struct vexfs_collection *coll = s->coll;
	u32 slot;
	int err = 0;

	for (slot = 0; slot < coll->slots && !err; slot++) {
		if (coll->ino[slot])
			err = vexfs_gather(s, slot);
		if (!(slot & 1023) && fatal_signal_pending(current))
			err = -EINTR;
	}
	if (err)
		s->count = 0;
	vexfs_gathered(s);
	return err;
}

static int vexfs_search_check(const struct vexfs_collection *coll,
			      const struct vexfs_ioc_search *req)
{
	if (req->dimension != coll->dimension || !req->k ||
	    req->k > VEXFS_K_MAX || req->flags & ~VEXFS_SEARCH_AFTER ||
	    memchr_inv(req->reserved, 0, sizeof(req->reserved)) ||
	    !vexfs_finite(req->u.query, coll->dimension))
		return -EINVAL;
	if (!(req->flags & VEXFS_SEARCH_AFTER) &&
	    (req->after_ino || req->after_distance))
		return -EINVAL;
	return 0;
}

/* After permission was checked. Answers in @req. */
int vexfs_vector_search(struct inode *dir, struct vexfs_ioc_search *req)
{
	struct vexfs_collection *coll;
	struct vexfs_scan *s;
	u32 i, found;
	int err;

	err = vexfs_collection_use(dir, &coll);
	if (!err)
		err = vexfs_search_check(coll, req);
	if (err)
		return err;
	s = kvzalloc(sizeof(*s), GFP_KERNEL);
	if (!s)
		return -ENOMEM;
	s->coll = coll;
	s->req = req;
	s->after.key = vexfs_distance_key(req->after_distance);
	s->after.ino = req->after_ino;
	file_ra_state_init(&s->ra, coll->store->i_mapping);
	s->heap = kvmalloc_array(req->k, sizeof(*s->heap), GFP_KERNEL);
	err = -ENOMEM;
	if (!s->heap)
		goto out;
	down_read(&coll->sem);
	err = vexfs_scan(s);
	req->scanned = coll->live;
	up_read(&coll->sem);
	if (err)
		goto out;
	found = s->found;
	sort(s->heap, found, sizeof(*s->heap), vexfs_found_compare, NULL);
	memset(&req->u, 0, sizeof(req->u));
	for (i = 0; i < found; i++) {
		req->u.hit[i].ino = s->heap[i].ino;
		req->u.hit[i].distance = vexfs_distance_bits(s->heap[i].key);
	}
	req->found = found;
out:
	kvfree(s->heap);
	kvfree(s);
	return err;
}
