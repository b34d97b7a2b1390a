/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/saved.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <string.h>

#define NAME "relay.json"

int saved_read(int dir_fd, struct relay_configuration *ret, struct error *err)
{
        _cleanup_(free) char *bytes = NULL;
        struct relay_message message;
        size_t n;
        int r;

        r = file_read_regular(dir_fd, NAME, RELAY_LINE_MAX, &bytes, &n, err);
        if (r < 0)
                return r;
        r = relay_message_parse(bytes, n, &message, err);
        if (r < 0) {
                error_prefix(err, NAME);
                return r;
        }
        if (r || message.kind != RELAY_CONFIGURE)
                return error_set(err, -EBADMSG, NAME " has no configuration");
        *ret = message.configuration;
        return 0;
}

int saved_write(int dir_fd, const struct relay_configuration *configuration, struct error *err)
{
        struct relay_message message = { .kind = RELAY_CONFIGURE, .configuration = *configuration };
        _cleanup_(free) char *line = relay_message_print(&message);

        /* The directory is on a tmpfs: after a crash of the host no VM runs either. */
        return file_replace(dir_fd, NAME, line, strlen(line), 0600, FILE_UNSYNCED, err);
}
