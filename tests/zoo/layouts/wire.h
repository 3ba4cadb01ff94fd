/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_H
#define WIRE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define WIRE_MAGIC 0x57495245
#define WIRE_GET _IOR('W', 1, struct wire_reply)

struct wire_reply {
	__u32 count;
	__u32 flags;
	__u64 at[4];
};

struct wire_disk {
	__le32 magic;
	__le16 version;
	__u8 label[10];
} __attribute__((packed));

#endif
