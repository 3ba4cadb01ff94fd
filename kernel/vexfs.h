/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share. Locks, outermost first: i_rwsem,
 * invalidate_lock, folio lock, journal handle, ext_sem, orphan_lock,
 * group lock. No page is locked and no writeback awaited under a handle.
 */
#ifndef VEXFS_H
#define VEXFS_H

#include <linux/buffer_head.h>
#include <linux/fs.h>
#include <linux/jbd2.h>
#include <linux/kobject.h>
#include <linux/mutex.h>
#include <linux/ratelimit.h>
#include <linux/rwsem.h>
#include <linux/siphash.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "vexfs_format.h"

#define VEXFS_NAME	"vexfs"
#define VEXFS_MODULE_VERSION	"0.1.0"
#define VEXFS_GROUP_LOCKS	64

#ifdef CONFIG_VEXFS_VECTOR
#define VEXFS_FEATURE_VECTOR	" vector"
#define VEXFS_RO_KNOWN	(VEXFS_RO_SHORT_JOURNAL | VEXFS_RO_VECTOR)
#else
#define VEXFS_FEATURE_VECTOR	""
#define VEXFS_RO_KNOWN	VEXFS_RO_SHORT_JOURNAL
#endif
#ifdef CONFIG_VEXFS_DEBUG
#define VEXFS_FEATURE_DEBUG	" debug"
#else
#define VEXFS_FEATURE_DEBUG	""
#endif
#define VEXFS_FEATURES	"journal" VEXFS_FEATURE_VECTOR VEXFS_FEATURE_DEBUG

enum vexfs_errors {
	VEXFS_ERRORS_RO,
	VEXFS_ERRORS_CONTINUE,
	VEXFS_ERRORS_PANIC,
};

struct vexfs_options {
	u32 errors;
	u32 commit;		/* seconds */
	bool discard;
};

/* A group in memory. */
struct vexfs_group {
	unsigned long *pending;	/* blocks freed, but not in a commit yet */
	u32 free_blocks;	/* as in the summary */
	u16 free_inodes;
	u16 init;
	u16 pending_count;
	bool bad;		/* corrupt: nothing is taken from it */
};

struct vexfs_sb_info {
	struct super_block *sb;
	struct vexfs_options opts;
	struct crypto_shash *crc;
	u32 seed;
	siphash_key_t hash_key;
	u32 ro_compat;
	bool readable_only;	/* read-write is refused: unknown ro_compat */
	u64 total_blocks;
	u64 journal_start;
	u64 groups_start;
	u64 usable_blocks;
	u64 backup[2];
	u32 journal_blocks;
	u32 groups;
	u32 summary_blocks;
	u32 ipg;		/* inodes per group */
	u32 itable;		/* blocks of a group's inode table */
	u8 label[32];
	struct vexfs_group *group;
	struct mutex group_lock[VEXFS_GROUP_LOCKS]; /* bitmaps and counts */
	atomic64_t free_blocks;
	atomic64_t free_inodes;
	atomic64_t pending_blocks;
	u32 reserve;		/* blocks that only conversions may take */
	atomic_t next_group;
	journal_t *journal;
	int credits;		/* of an operation */
	int log_errno;		/* what had aborted the journal, or 0 */
	struct jbd2_buffer_trigger_type trigger;
	struct buffer_head *state_bh;
	struct mutex orphan_lock;	/* the list on disk */
	struct list_head orphan_list;	/* as on disk, the head first */
	spinlock_t freed_lock;		/* t_private_list */
	struct workqueue_struct *conversions;
	struct ratelimit_state messages;
	atomic_t said;
	struct mutex error_lock;	/* last_error, error_pending */
	struct vexfs_error_record last_error;
	struct work_struct error_work;
	bool error_pending;
	struct mutex super_lock;	/* the superblock on disk, ro_compat */
	struct mutex open_lock;		/* collections being opened */
	atomic_t pending_slots;		/* freed, but not in a commit yet */
};

/* What a transaction frees: blocks, or slots of a collection. */
struct vexfs_freed {
	struct list_head list;
	struct vexfs_collection *coll;	/* NULL: blocks */
	u64 first;
	u32 count;
};

struct vexfs_orphan {
	struct list_head list;
	struct inode *inode;	/* NULL: cleaning it has failed */
	u32 ino;
};

struct vexfs_inode_info {
	struct inode vfs_inode;
	struct rw_semaphore ext_sem;	/* root, and the tree below it */
	struct vexfs_extent_root root;
	u64 ext_version;		/* raised by each change of the tree */
	loff_t disk_size;		/* of a regular file: what is durable */
	bool old_tail;			/* behind it may be what was cut off */
	u32 flags;
	u32 parent;
	u32 link;
	u32 orphan_next;
	struct vexfs_orphan *orphan;	/* while it is on the list */
	struct vexfs_collection *coll;	/* of a directory; NULL: not open */
	struct jbd2_inode *jinode;	/* of a store that was written */
	u64 xattr_block;
	u16 xattr_len;
	u8 special[24];
	u8 xattr[VEXFS_XATTR_INLINE];
	struct timespec64 btime;
	struct mutex raw_lock;		/* this inode's bytes in the table */
	struct rw_semaphore xattr_sem;
	struct work_struct io_work;
	struct list_head io_list;
	spinlock_t io_lock;		/* io_list */
};

static inline struct vexfs_sb_info *VEXFS_SB(const struct super_block *sb)
{
	return sb->s_fs_info;
}

static inline struct vexfs_inode_info *VEXFS_I(const struct inode *inode)
{
	return container_of(inode, struct vexfs_inode_info, vfs_inode);
}

static inline u64 vexfs_group_start(const struct vexfs_sb_info *sbi, u32 g)
{
	return sbi->groups_start + (u64)g * VEXFS_GROUP_BLOCKS;
}

static inline u32 vexfs_group_len(const struct vexfs_sb_info *sbi, u32 g)
{
	return min_t(u64, VEXFS_GROUP_BLOCKS,
		     sbi->total_blocks - vexfs_group_start(sbi, g));
}

static inline struct mutex *vexfs_group_lock(struct vexfs_sb_info *sbi, u32 g)
{
	return &sbi->group_lock[g % VEXFS_GROUP_LOCKS];
}

/* The number that members of @dir have as their parent. */
static inline u32 vexfs_collection_of(const struct inode *dir)
{
	return VEXFS_I(dir)->flags & VEXFS_FL_COLLECTION ? dir->i_ino : 0;
}

static inline bool vexfs_is_store(const struct inode *inode)
{
	return VEXFS_I(inode)->flags & VEXFS_FL_STORE;
}

/* Is what the inode has at @lblk metadata, so journaled? */
static inline bool vexfs_is_meta(const struct inode *inode, u32 lblk)
{
	return !S_ISREG(inode->i_mode) ||
	       (vexfs_is_store(inode) && lblk >= VEXFS_SLOT_LBLK);
}

/* error.c */
int vexfs_corrupt(struct super_block *sb, const char *type, u64 block, u64 ino,
		  const char *check);
int vexfs_corrupt_val(struct super_block *sb, const char *type, u64 block,
		      u64 ino, const char *check, u64 got, u64 want);
int vexfs_io_error(struct super_block *sb, const char *type, u64 block,
		   u64 ino, bool write, int err);
void vexfs_error_work(struct work_struct *work);
int vexfs_record_error(struct super_block *sb,
		       const struct vexfs_error_record *rec);

/* block.c */
u32 vexfs_crc(const struct vexfs_sb_info *sbi, u32 crc, const void *data,
	      unsigned int len);
bool vexfs_usable(const struct vexfs_sb_info *sbi, u64 block, u64 len);
struct buffer_head *vexfs_bread(struct super_block *sb, u64 block,
				__le32 magic, u32 owner, u32 gen, u64 ino);
struct buffer_head *vexfs_bread_fixed(struct super_block *sb, u64 block,
				      __le32 magic, u32 owner);
int vexfs_access(handle_t *handle, struct super_block *sb,
		 struct buffer_head *bh);
int vexfs_dirty(handle_t *handle, struct super_block *sb,
		struct buffer_head *bh);
struct buffer_head *vexfs_zeroed_block(handle_t *handle,
				       struct super_block *sb, u64 block);
struct buffer_head *vexfs_new_block(handle_t *handle, struct super_block *sb,
				    u64 block, __le32 magic, u32 owner,
				    u32 gen);
void vexfs_frozen(struct jbd2_buffer_trigger_type *type,
		  struct buffer_head *bh, void *data, size_t size);

const char *vexfs_type_name(__le32 magic);

/* debug.c: what must hold after a change. Nothing but with CONFIG_VEXFS_DEBUG. */
#ifdef CONFIG_VEXFS_DEBUG
void vexfs_assert_block(struct super_block *sb, struct buffer_head *bh);
void vexfs_assert_inode(struct inode *inode);
#else
static inline void vexfs_assert_block(struct super_block *sb,
				      struct buffer_head *bh)
{
}

static inline void vexfs_assert_inode(struct inode *inode)
{
}
#endif

/* recover.c */
int vexfs_recover(struct super_block *sb, int *log_errno);

/* journal.c */
int vexfs_journal_open(struct super_block *sb, int log_errno);
void vexfs_journal_close(struct super_block *sb);
handle_t *vexfs_start(struct super_block *sb, int credits, int revokes);
int vexfs_stop(handle_t *handle, int err);
int vexfs_mark_mounted(struct super_block *sb);
int vexfs_mark_clean(struct super_block *sb, bool clean);
int vexfs_commit(struct super_block *sb);
bool vexfs_retry(struct super_block *sb, int err, int *tries);

/* groups.c */
int vexfs_groups_load(struct super_block *sb);
void vexfs_groups_free(struct vexfs_sb_info *sbi);
struct buffer_head *vexfs_group_get(handle_t *handle, struct super_block *sb,
				    u32 g);
const char *vexfs_group_check(struct vexfs_sb_info *sbi, u32 g,
			      const struct vexfs_group_block *gb);
int vexfs_summary_put(handle_t *handle, struct super_block *sb, u32 g);

/* balloc.c */
int vexfs_alloc(handle_t *handle, struct inode *inode, u64 goal, u32 want,
		bool reserve, u64 *block);
int vexfs_free(handle_t *handle, struct inode *inode, u64 block, u32 len);
void vexfs_committed(journal_t *journal, transaction_t *transaction);
u64 vexfs_goal(const struct inode *inode);

/* ialloc.c */
int vexfs_ialloc(handle_t *handle, struct inode *dir, umode_t mode, u32 *ino,
		 u32 *generation);
int vexfs_ifree(handle_t *handle, struct inode *inode);
struct buffer_head *vexfs_inode_block(struct super_block *sb, u32 ino,
				      unsigned int *offset);

/* inode.c */
struct inode *vexfs_iget(struct super_block *sb, u32 ino);
struct inode *vexfs_iget_maybe(struct super_block *sb, u64 ino);
struct inode *vexfs_new_inode(handle_t *handle, struct mnt_idmap *idmap,
			      struct inode *dir, umode_t mode, dev_t dev);
int vexfs_mark_inode(handle_t *handle, struct inode *inode);
void vexfs_dirty_inode(struct inode *inode, int flags);
void vexfs_evict_inode(struct inode *inode);
int vexfs_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
		  struct iattr *attr);
int vexfs_getattr(struct mnt_idmap *idmap, const struct path *path,
		  struct kstat *stat, u32 mask, unsigned int flags);
void vexfs_set_ops(struct inode *inode);

/* namei.c and rename.c */
void vexfs_drop_subdir(struct inode *dir);
int vexfs_drop_name(handle_t *handle, struct inode *dir, struct inode *inode);
int vexfs_rename(struct mnt_idmap *idmap, struct inode *old_dir,
		 struct dentry *old, struct inode *new_dir, struct dentry *new,
		 unsigned int flags);
struct inode *vexfs_start_new(struct mnt_idmap *idmap, struct inode *dir,
			      umode_t mode, dev_t dev, handle_t **handle);
int vexfs_make_failed(handle_t *handle, struct inode *inode, int err);

/* ioctl.c */
long vexfs_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* vector.c and vector_slot.c: what files and directories need of them */
#ifdef CONFIG_VEXFS_VECTOR
int vexfs_members_lock(struct inode *dir, bool nested);
void vexfs_members_unlock(struct inode *dir);
int vexfs_member_gone(handle_t *handle, struct inode *dir, struct inode *inode);
int vexfs_collection_open(struct inode *dir);
int vexfs_collection_gone(handle_t *handle, struct inode *dir);
void vexfs_collection_close(struct inode *inode);
void vexfs_store_evict(struct inode *store);
void vexfs_slots_committed(struct vexfs_freed *freed, bool aborted);
#else
static inline int vexfs_members_lock(struct inode *dir, bool nested)
{
	return 0;
}

static inline void vexfs_members_unlock(struct inode *dir)
{
}

static inline int vexfs_member_gone(handle_t *handle, struct inode *dir,
				    struct inode *inode)
{
	return 0;
}

static inline int vexfs_collection_open(struct inode *dir)
{
	return 0;
}

static inline int vexfs_collection_gone(handle_t *handle, struct inode *dir)
{
	return 0;
}

static inline void vexfs_collection_close(struct inode *inode)
{
}

static inline void vexfs_store_evict(struct inode *store)
{
}

static inline void vexfs_slots_committed(struct vexfs_freed *freed,
					 bool aborted)
{
}
#endif

/* volume.c */
int vexfs_set_ro_compat(struct super_block *sb, u32 bit);

/* orphan.c */
int vexfs_orphan_add(handle_t *handle, struct inode *inode);
int vexfs_orphan_del(handle_t *handle, struct inode *inode);
int vexfs_orphan_cleanup(struct super_block *sb);

/* symlink.c */
int vexfs_symlink_write(handle_t *handle, struct inode *inode,
			const char *target, unsigned int len);

/* xattr.c */
int vexfs_xattr_check(const u8 *data, unsigned int used);
int vexfs_xattr_free(handle_t *handle, struct inode *inode);
ssize_t vexfs_listxattr(struct dentry *dentry, char *buffer, size_t size);

/* iomap.c */
extern const struct iomap_ops vexfs_read_ops;
extern const struct iomap_ops vexfs_write_ops;
extern const struct address_space_operations vexfs_aops;
int vexfs_io_done(struct inode *inode, loff_t pos, size_t size);
void vexfs_io_work(struct work_struct *work);
int vexfs_zero(struct inode *inode, loff_t pos, loff_t len);

/* direct.c */
ssize_t vexfs_direct_read(struct kiocb *iocb, struct iov_iter *to);
ssize_t vexfs_direct_write(struct kiocb *iocb, struct iov_iter *from);

/* file.c */
int vexfs_fsync(struct file *file, loff_t start, loff_t end, int datasync);

/* mmap.c */
int vexfs_mmap(struct file *file, struct vm_area_struct *vma);

/* sysfs.c */
int vexfs_sysfs_init(void);
void vexfs_sysfs_exit(void);

extern const struct inode_operations vexfs_dir_inode_ops;
extern const struct inode_operations vexfs_file_inode_ops;
extern const struct inode_operations vexfs_symlink_inode_ops;
extern const struct inode_operations vexfs_special_inode_ops;
extern const struct file_operations vexfs_dir_ops;
extern const struct file_operations vexfs_file_ops;
extern const struct xattr_handler * const vexfs_xattr_handlers[];
extern const struct super_operations vexfs_super_ops;

#include "tree.h"

#endif /* VEXFS_H */
