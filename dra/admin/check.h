/* SPDX-License-Identifier: Apache-2.0 */
/* `dra-driver-tdx check`: would `run` work here? Changes nothing. */
#pragma once

struct config;

/* Prints an item a line to standard output; returns the exit status: 0 when all are well, 1
 * otherwise. */
int check_run(const struct config *config);
