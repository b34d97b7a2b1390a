/* SPDX-License-Identifier: Apache-2.0 */
/* The last configuration on disk, relay.json: one line as the driver sent it. A relay that starts
 * before the driver binds the same sockets by it. */
#pragma once

#include "host/relay_message.h"

/* dir_fd: of the relay's directory. 0; -ENOENT: there is none; -EBADMSG or another -errno with the
 * reason. */
int saved_read(int dir_fd, struct relay_configuration *ret, struct error *err);
int saved_write(int dir_fd, const struct relay_configuration *configuration, struct error *err);
