// SPDX-License-Identifier: Apache-2.0
/* A daemon that should mount something at its last argument and does not do it right. -DDEFECT=… says how. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define SILENT 0    /* starts, says nothing, mounts nothing: the incident */
#define QUITS 1     /* says that it has mounted, and exits 0 */
#define PRETENDS 2  /* goes to the background with nothing mounted */
#define WRONG_TYPE 3 /* mounts another file system than it says */
#define CRASHES 4   /* takes the kernel down */
#define POWERS_OFF 5 /* the machine is gone without a word of the kernel */

#ifndef BUILD
#define BUILD 1 /* another number, another binary */
#endif

static const int build = BUILD;

static void sysrq(char key)
{
	int file = open("/proc/sysrq-trigger", O_WRONLY);

	if (write(file, &key, 1) != 1)
		perror("sysrq");
}

static void stay(void)
{
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *mountpoint = argv[argc - 1];

	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("zoo_daemon %d\n", build);
		return 0;
	}
	switch (DEFECT) {
	case SILENT:
		stay();
		break;
	case QUITS:
		printf("mounted at %s\n", mountpoint);
		return 0;
	case PRETENDS:
		if (fork())
			return 0;
		stay();
		break;
	case WRONG_TYPE:
		if (mount("zoo", mountpoint, "tmpfs", 0, ""))
			perror("mount");
		stay();
		break;
	case CRASHES:
		sysrq('c');
		break;
	case POWERS_OFF:
		sysrq('o');
		stay();
		break;
	}
	return 1;
}
