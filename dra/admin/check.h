/* SPDX-License-Identifier: Apache-2.0 */
/* `dra-driver-tdx check`: would `run` work here? It changes nothing. */
#pragma once

struct config;

/* Prints one line per item to standard output; returns the exit status: 0 if every item is ok,
 * otherwise 1. */
int check_run(const struct config *config);
