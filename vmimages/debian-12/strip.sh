#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Nobody reads here.
set -eu
rm -rf /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info /usr/share/lintian
