/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HEARTBEAT_H
#define HEARTBEAT_H

int heartbeat_start(void);
void heartbeat_stop(void);

#endif
