/* SPDX-License-Identifier: Apache-2.0 */
/* Prints where the host's TDs run, for `inspect`. */
#pragma once

struct config;

void running_print(const struct config *config);
