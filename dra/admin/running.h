/* SPDX-License-Identifier: Apache-2.0 */
/* Prints in which cgroups the host's TDs run, for `inspect`. */
#pragma once

struct capacity_sight;
struct config;

void running_print(const struct config *config, const struct capacity_sight *capacity);
