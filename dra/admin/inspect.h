/* SPDX-License-Identifier: Apache-2.0 */
/* `dra-driver-tdx inspect`: what the node has and who holds it, read from the driver's files;
 * changes nothing. */
#pragma once

struct config;

/* Prints to standard output; returns the exit status. */
int inspect_run(const struct config *config);
