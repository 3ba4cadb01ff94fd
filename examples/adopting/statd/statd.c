// SPDX-License-Identifier: Apache-2.0
/* Prints the load once a second. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	double load[3];

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		puts("Usage: statd [--version] [--help]");
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("statd 2.0 (" PREFIX ")");
		return 0;
	}
	for (; getloadavg(load, 3) == 3; sleep(1))
		printf("%.2f %.2f %.2f\n", load[0], load[1], load[2]);
	return 1;
}
