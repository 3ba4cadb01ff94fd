// SPDX-License-Identifier: GPL-2.0-only
/* V1: a GPL-only symbol of a namespace; the tests take the import, the license or the CRCs away. */
#include <linux/dma-buf.h>
#include "zoo.h"
MODULE_VERSION("0.1.0");
MODULE_IMPORT_NS(DMA_BUF);

int zoo_defect(int seed)
{
	struct dma_buf *buffer = dma_buf_get(seed);

	if (IS_ERR(buffer))
		return 0;
	dma_buf_put(buffer);
	return 1;
}
