/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel header that describes a layout may use, and programs do not
 * have. Nothing here changes a layout. Found only where no other folder has
 * the name.
 */
#ifndef VEXCI_LINUX_BITS_H
#define VEXCI_LINUX_BITS_H

#include <stddef.h>
#include <linux/types.h>
#include <asm/byteorder.h>

#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define __packed __attribute__((packed))
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), #condition)
#define cpu_to_le16(x) __cpu_to_le16(x)
#define cpu_to_le32(x) __cpu_to_le32(x)
#define cpu_to_le64(x) __cpu_to_le64(x)
#define cpu_to_be16(x) __cpu_to_be16(x)
#define cpu_to_be32(x) __cpu_to_be32(x)
#define cpu_to_be64(x) __cpu_to_be64(x)

#endif
