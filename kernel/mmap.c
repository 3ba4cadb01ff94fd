// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regular files in a program's memory.
 */
#include <linux/highmem.h>
#include <linux/mm.h>

#include "vexfs.h"

/* What is behind the end in the page at @index; 0 where all of it is the file's. */
static unsigned int vexfs_behind(struct inode *inode, pgoff_t index)
{
	loff_t size = i_size_read(inode);

	if (index != size >> PAGE_SHIFT || !offset_in_page(size))
		return 0;
	return PAGE_SIZE - offset_in_page(size);
}

/*
 * The disk may have anything behind the end of a file (format.md, section 7),
 * a map must show zeros there. Whoever makes the file longer holds the page's
 * lock from before the contents to behind the size, so nothing of it is lost.
 */
static vm_fault_t vexfs_fault(struct vm_fault *vmf)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	vm_fault_t ret = filemap_fault(vmf);
	unsigned int len;

	if (ret & VM_FAULT_LOCKED) {
		len = vexfs_behind(inode, vmf->pgoff);
		if (len)
			memzero_page(vmf->page, PAGE_SIZE - len, len);
	}
	return ret;
}

/* Pages around a fault, but not the last one, which has to come by a fault. */
static vm_fault_t vexfs_map_pages(struct vm_fault *vmf, pgoff_t start,
				  pgoff_t end)
{
	loff_t size = i_size_read(file_inode(vmf->vma->vm_file));
	pgoff_t whole = size >> PAGE_SHIFT;

	if (start >= whole)
		return 0;
	return filemap_map_pages(vmf, start, min(end, whole - 1));
}

static vm_fault_t vexfs_page_mkwrite(struct vm_fault *vmf)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	vm_fault_t ret;

	sb_start_pagefault(inode->i_sb);
	file_update_time(vmf->vma->vm_file);
	filemap_invalidate_lock_shared(inode->i_mapping);
	ret = iomap_page_mkwrite(vmf, &vexfs_write_ops);
	filemap_invalidate_unlock_shared(inode->i_mapping);
	sb_end_pagefault(inode->i_sb);
	return ret;
}

static const struct vm_operations_struct vexfs_vm_ops = {
	.fault		= vexfs_fault,
	.map_pages	= vexfs_map_pages,
	.page_mkwrite	= vexfs_page_mkwrite,
};

int vexfs_mmap(struct file *file, struct vm_area_struct *vma)
{
	file_accessed(file);
	vma->vm_ops = &vexfs_vm_ops;
	return 0;
}
