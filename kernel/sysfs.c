// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/fs/vexfs/features: what this build can do, one word a line.
 */
#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "vexfs.h"

static struct kobject *vexfs_kobj;

static ssize_t features_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%s\n", VEXFS_FEATURES);
}

static struct kobj_attribute vexfs_features = __ATTR_RO(features);

int vexfs_sysfs_init(void)
{
	int err;

	vexfs_kobj = kobject_create_and_add(VEXFS_NAME, fs_kobj);
	if (!vexfs_kobj)
		return -ENOMEM;
	err = sysfs_create_file(vexfs_kobj, &vexfs_features.attr);
	if (err)
		kobject_put(vexfs_kobj);
	return err;
}

void vexfs_sysfs_exit(void)
{
	sysfs_remove_file(vexfs_kobj, &vexfs_features.attr);
	kobject_put(vexfs_kobj);
}
