/* SPDX-License-Identifier: Apache-2.0 */
/* The running driver: owns every module and connects them; the only file that knows all of them. */
#pragma once

struct config;
struct error;

/* Serve until SIGTERM or SIGINT. 0 after an orderly stop, -errno if the driver could not start. */
int daemon_run(const struct config *config, struct error *err);
