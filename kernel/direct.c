// SPDX-License-Identifier: GPL-2.0-only
/*
 * O_DIRECT: contents between the device and a program's memory, past the page
 * cache. Writes wait for their end under i_rwsem, so that the size and the
 * zeros around a part of a block are nobody else's; reads may be under way
 * when it is released, so whoever frees blocks waits for them.
 */
#include <linux/iomap.h>

#include "vexfs.h"

/* As behind writeback: what is on the disk now becomes part of the file. */
static int vexfs_direct_done(struct kiocb *iocb, ssize_t size, int error,
			     unsigned int flags)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	loff_t end = iocb->ki_pos + size;

	if (error || size <= 0)
		return error;
	if (end > i_size_read(inode))
		i_size_write(inode, end);
	if (!(flags & IOMAP_DIO_UNWRITTEN) && end <= VEXFS_I(inode)->disk_size)
		return 0;
	return vexfs_io_done(inode, iocb->ki_pos, size);
}

static const struct iomap_dio_ops vexfs_direct_ops = {
	.end_io		= vexfs_direct_done,
};

ssize_t vexfs_direct_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	ssize_t ret;

	if (!iov_iter_count(to))
		return 0;
	inode_lock_shared(inode);
	ret = iomap_dio_rw(iocb, to, &vexfs_read_ops, NULL, 0, NULL, 0);
	inode_unlock_shared(inode);
	file_accessed(iocb->ki_filp);
	return ret;
}

/*
 * Under i_rwsem, after all checks. -ENOTBLK: pages of the range could not be
 * dropped, nothing was written, and it has to go through the page cache.
 */
ssize_t vexfs_direct_write(struct kiocb *iocb, struct iov_iter *from)
{
	return iomap_dio_rw(iocb, from, &vexfs_write_ops, &vexfs_direct_ops,
			    IOMAP_DIO_FORCE_WAIT, NULL, 0);
}
