/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a line on the relay's control socket. What is taken from it is printed in one line
 * that fits, and is read again. */
#include "base/error.h"
#include "base/memory.h"
#include "host/relay_message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(free) char *first = NULL, *second = NULL;
        struct relay_message message, again;
        struct error error = ERROR_NULL;
        int r = relay_message_parse((const char *)bytes, n, &message, &error);

        assert(r == 0 || r == RELAY_MESSAGE_UNKNOWN || r == -EBADMSG);
        assert((r < 0) == (error.text[0] != '\0'));
        if (r)
                return 0;
        first = relay_message_print(&message);
        assert(strlen(first) <= RELAY_LINE_MAX && strchr(first, '\n') == first + strlen(first) - 1);
        r = relay_message_parse(first, strlen(first) - 1, &again, &error);
        assert(r == 0);
        second = relay_message_print(&again);
        assert(strcmp(first, second) == 0);
        return 0;
}
