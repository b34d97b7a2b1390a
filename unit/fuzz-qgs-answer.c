/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as QGS's answer, whole and as they come in. */
#include "base/memory.h"
#include "host/qgs_message.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int parse(const uint8_t *bytes, size_t n)
{
        /* Exactly as long as it may be read. */
        _cleanup_(free) unsigned char *end = xmalloc(n ? n : 1);
        char failure[64] = "";
        uint32_t error = 0;
        int r;

        memcpy(end, bytes, n);
        r = qgs_message_read_platform_info(end, n, &error, failure, sizeof(failure));
        assert(r == 0 || r == 1 || r == -EBADMSG);
        assert((r < 0) == (failure[0] != '\0'));
        assert(strlen(failure) < sizeof(failure));
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        size_t n_whole = n < 4096 ? n : 4096, n_told = 0;
        int r = parse(bytes, n_whole);

        /* What a beginning says, more bytes do not take back. */
        for (size_t i = 0; i <= n_whole; i += i < 80 ? 1 : 97) {
                int beginning = parse(bytes, i);

                assert(beginning == 1 || beginning == r);
                n_told += beginning != 1;
        }
        assert(r != 1 || !n_told);
        if (r == 0) {
                assert(n >= 20 && bytes[4] == 1 && bytes[5] == 0 && bytes[8] == 5);
                assert(bytes[16] == 0 && bytes[17] == 0 && bytes[18] == 0 && bytes[19] == 0);
        }
        return 0;
}
