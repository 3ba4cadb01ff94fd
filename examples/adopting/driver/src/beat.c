// SPDX-License-Identifier: GPL-2.0-only
#include <linux/jiffies.h>
#include <linux/workqueue.h>

#include "heartbeat.h"
#include "heartbeat_config.h"

static unsigned long beats;
static void heartbeat_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(beat, heartbeat_work);

static void heartbeat_work(struct work_struct *work)
{
	beats++;
	schedule_delayed_work(&beat, msecs_to_jiffies(HEARTBEAT_PERIOD_MS));
}

int heartbeat_start(void)
{
	schedule_delayed_work(&beat, 0);
	return 0;
}

void heartbeat_stop(void)
{
	cancel_delayed_work_sync(&beat);
}
