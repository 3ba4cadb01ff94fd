// SPDX-License-Identifier: GPL-2.0-only
/*
 * File contents. The page cache is the storage: a folio that holds data has
 * private data attached, counts as one block against the mount's limit, and
 * stays until it is truncated. A folio without it caches the zeros of a hole:
 * it counts for nothing, and memory reclaim may take it.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "vexfs.h"

/* The folio's lock makes looking and attaching one step. */
static int vexfs_take_block(struct inode *inode, struct folio *folio)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);
	int err;

	if (folio_test_private(folio))
		return 0;
	err = vexfs_take(sbi, &sbi->blocks);
	if (err)
		return err;
	/* Migration moves private data only where the pointer is not NULL. */
	folio_attach_private(folio, sbi);
	inode_add_bytes(inode, folio_size(folio));
	return 0;
}

static void vexfs_give_block(struct inode *inode, struct folio *folio)
{
	struct vexfs_sb_info *sbi = VEXFS_SB(inode->i_sb);

	if (!folio_test_private(folio))
		return;
	inode_sub_bytes(inode, folio_size(folio));
	folio_detach_private(folio);
	vexfs_give(sbi, &sbi->blocks);
}

/* Data is never read from anywhere: what is not in the cache is a hole. */
static int vexfs_read_folio(struct file *file, struct folio *folio)
{
	folio_zero_range(folio, 0, folio_size(folio));
	flush_dcache_folio(folio);
	folio_mark_uptodate(folio);
	folio_unlock(folio);
	return 0;
}

/*
 * A shared mapping can store past the end of the file, within its last page.
 * Clear that before the file grows, or it would appear as data.
 */
static void vexfs_zero_tail(struct inode *inode)
{
	loff_t size = i_size_read(inode);
	struct folio *folio;

	if (!offset_in_page(size))
		return;
	folio = filemap_lock_folio(inode->i_mapping, size >> PAGE_SHIFT);
	/* A missing folio was NULL before 6.3, and is an error since. */
	if (IS_ERR_OR_NULL(folio))
		return;
	folio_zero_segment(folio, offset_in_folio(folio, size),
			   folio_size(folio));
	folio_unlock(folio);
	folio_put(folio);
}

static int vexfs_write_begin(struct file *file, struct address_space *mapping,
			     loff_t pos, unsigned int len,
			     struct vexfs_write_arg **argp, void **fsdata)
{
	struct inode *inode = mapping->host;
	struct folio *folio;
	int err;

	if (pos > i_size_read(inode))
		vexfs_zero_tail(inode);
	err = simple_write_begin(file, mapping, pos, len, argp, fsdata);
	if (err)
		return err;
	folio = vexfs_arg_folio(*argp);
	err = vexfs_take_block(inode, folio);
	if (err) {
		folio_unlock(folio);
		folio_put(folio);
	}
	return err;
}

static int vexfs_write_end(struct file *file, struct address_space *mapping,
			   loff_t pos, unsigned int len, unsigned int copied,
			   struct vexfs_write_arg *arg, void *fsdata)
{
	struct folio *folio = vexfs_arg_folio(arg);
	struct inode *inode = mapping->host;

	if (!folio_test_uptodate(folio)) {
		if (!copied) {
			/* A hole it was, and a hole it stays. */
			vexfs_give_block(inode, folio);
			goto unlock;
		}
		/* write_begin cleared all but the range to be written. */
		folio_zero_range(folio, offset_in_folio(folio, pos) + copied,
				 len - copied);
		folio_mark_uptodate(folio);
	}
	folio_mark_dirty(folio);
	/* i_rwsem keeps the size from changing under us. */
	if (copied && pos + copied > inode->i_size)
		i_size_write(inode, pos + copied);
unlock:
	folio_unlock(folio);
	folio_put(folio);
	return copied;
}

static void vexfs_invalidate_folio(struct folio *folio, size_t offset,
				   size_t len)
{
	if (len == folio_size(folio))
		vexfs_give_block(folio->mapping->host, folio);
}

/* Only called for folios with a block, and their only copy is this one. */
static bool vexfs_release_folio(struct folio *folio, gfp_t gfp)
{
	return false;
}

const struct address_space_operations vexfs_aops = {
	.read_folio		= vexfs_read_folio,
	.write_begin		= vexfs_write_begin,
	.write_end		= vexfs_write_end,
	.dirty_folio		= noop_dirty_folio,
	.invalidate_folio	= vexfs_invalidate_folio,
	.release_folio		= vexfs_release_folio,
	.migrate_folio		= filemap_migrate_folio,
};

/* The first store to a mapped hole needs a block, like a write does. */
static vm_fault_t vexfs_page_mkwrite(struct vm_fault *vmf)
{
	struct file *file = vmf->vma->vm_file;
	struct folio *folio = page_folio(vmf->page);
	struct inode *inode = file_inode(file);
	vm_fault_t ret = VM_FAULT_LOCKED;

	sb_start_pagefault(inode->i_sb);
	file_update_time(file);
	folio_lock(folio);
	if (folio->mapping != inode->i_mapping ||
	    folio_pos(folio) >= i_size_read(inode)) {
		/* Truncated meanwhile: let the fault look again. */
		ret = VM_FAULT_NOPAGE;
		folio_unlock(folio);
	} else if (vexfs_take_block(inode, folio)) {
		ret = VM_FAULT_SIGBUS;
		folio_unlock(folio);
	} else {
		folio_mark_dirty(folio);
	}
	sb_end_pagefault(inode->i_sb);
	return ret;
}

static const struct vm_operations_struct vexfs_vm_ops = {
	.fault		= filemap_fault,
	.map_pages	= filemap_map_pages,
	.page_mkwrite	= vexfs_page_mkwrite,
};

static int vexfs_mmap(struct file *file, struct vm_area_struct *vma)
{
	file_accessed(file);
	vma->vm_ops = &vexfs_vm_ops;
	return 0;
}

const struct file_operations vexfs_file_ops = {
	.llseek		= generic_file_llseek,
	.read_iter	= generic_file_read_iter,
	.write_iter	= generic_file_write_iter,
	.mmap		= vexfs_mmap,
	/* Nothing to do, not left undone: the cache is the storage. */
	.fsync		= noop_fsync,
	.splice_read	= vexfs_splice_read,
	.splice_write	= iter_file_splice_write,
};

static int vexfs_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
			 struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err;

	err = setattr_prepare(idmap, dentry, attr);
	if (err)
		return err;
	if ((attr->ia_valid & ATTR_SIZE) &&
	    attr->ia_size != i_size_read(inode)) {
		if (attr->ia_size > i_size_read(inode))
			vexfs_zero_tail(inode);
		truncate_setsize(inode, attr->ia_size);
		/* truncate(2), unlike ftruncate(2), leaves these to us. */
		attr->ia_valid |= ATTR_MTIME | ATTR_CTIME;
	}
	setattr_copy(idmap, inode, attr);
	return 0;
}

const struct inode_operations vexfs_file_inode_ops = {
	.setattr	= vexfs_setattr,
};
