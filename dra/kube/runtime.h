/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container runtime of a node, as the Node object names it (core/v1 NodeSystemInfo,
 * containerRuntimeVersion: "containerd://1.7.13"): pure.
 */
#pragma once

#include <stdbool.h>

/* Whether this runtime is known to reject a CDI spec with additionalGids, and with it the whole
 * file. They came with CDI 0.7.0: containerd has it from 1.7.20 on (go.mod: 1.7.13 has
 * 0.6.2, 1.7.20 has 0.7.2) and CRI-O from 1.30 on (1.29 has 0.6.2). False for NULL and for unknown
 * runtimes. */
bool runtime_rejects_groups(const char *version);
