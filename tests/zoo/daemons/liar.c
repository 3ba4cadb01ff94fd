// SPDX-License-Identifier: Apache-2.0
/*
 * Preloaded into a FUSE daemon, it changes what the daemon answers to the kernel (fuse_out_header of linux/fuse.h: length, error,
 * unique). ZOO_LIE says how:
 *   errno     a folder that is not empty is EPERM instead of ENOTEMPTY
 *   distance  every hit of a search has the distance 0.5
 *   size      a file of 33 to 63 bytes, as truncate leaves it, has one more
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define HEADER 16       /* struct fuse_out_header */
#define IOCTL 16        /* struct fuse_ioctl_out */
#define SEARCH 16320    /* struct vexfs_ioc_search */
#define FOUND 12        /* offset of `found`; of `error`, which is 0, in a batch of the same size */
#define HITS 64         /* offset of the first hit */
#define HITS_MOST 1016
#define ATTRIBUTES 88   /* struct fuse_attr, at the end of the answer to GETATTR and SETATTR */
#define VALID 16        /* what comes before it in struct fuse_attr_out */

static void lie(char *reply, size_t length, const char *how)
{
	int32_t error;
	uint32_t found;
	double half = 0.5;

	memcpy(&error, reply + 4, sizeof(error));
	if (!strcmp(how, "errno") && length == HEADER && error == -ENOTEMPTY) {
		error = -EPERM;
		memcpy(reply + 4, &error, sizeof(error));
	}
	if (!strcmp(how, "size") && length == HEADER + VALID + ATTRIBUTES) {
		uint64_t size;

		memcpy(&size, reply + HEADER + VALID + 8, sizeof(size));
		size += size >= 33 && size <= 63;
		memcpy(reply + HEADER + VALID + 8, &size, sizeof(size));
	}
	if (strcmp(how, "distance") || error || length != HEADER + IOCTL + SEARCH)
		return;
	reply += HEADER + IOCTL;
	memcpy(&found, reply + FOUND, sizeof(found));
	for (uint32_t hit = 0; found <= HITS_MOST && hit < found; hit++)
		memcpy(reply + HITS + 16 * hit + 8, &half, sizeof(half));
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
	ssize_t (*real)(int, const struct iovec *, int) = (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
	const char *how = getenv("ZOO_LIE");
	size_t length = 0, at = 0;
	uint32_t said = 0;
	char *whole;
	ssize_t done;

	for (int part = 0; part < count; part++)
		length += parts[part].iov_len;
	whole = malloc(length + 1);
	if (!whole)
		return real(file, parts, count);
	for (int part = 0; part < count; at += parts[part++].iov_len)
		memcpy(whole + at, parts[part].iov_base, parts[part].iov_len);
	if (length >= HEADER)
		memcpy(&said, whole, sizeof(said));
	if (how && said == length) /* a reply to the kernel, and nothing else that is written */
		lie(whole, length, how);
	done = real(file, &(struct iovec){ whole, length }, 1);
	free(whole);
	return done;
}
