/* SPDX-License-Identifier: Apache-2.0 */
/* `dra-driver-tdx inspect`: how many TDs the node has and who holds them, read from the driver's
 * files. It changes nothing. */
#pragma once

struct config;

/* Prints to standard output; returns the exit status. */
int inspect_run(const struct config *config);
