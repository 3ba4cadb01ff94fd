#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What packages share with others stays: a removal is compared with what was there before.
set -eu
rm -rf /usr/share/locale /usr/share/info
