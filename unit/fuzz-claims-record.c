/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a record, and any bytes as the JSON of a record whose checksum is right. What is
 * accepted is written and read again, and must be the same. */
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "claims/record.h"
#include "claims/records.h"
#include "device.h"
#include "ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* By the polynomial, not by a table. */
static uint32_t crc32c(const uint8_t *bytes, size_t n)
{
        uint32_t crc = ~0U;

        for (size_t i = 0; i < n; ++i) {
                crc ^= bytes[i];
                for (int bit = 0; bit < 8; ++bit)
                        crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
        }
        return ~crc;
}

static void check_claim(const struct ledger_claim *claim)
{
        assert(text_is_uid(claim->uid) && claim->n_devices <= 32);
        for (size_t i = 0; i < claim->n_devices; ++i) {
                const struct ledger_device *device = &claim->devices[i];

                assert(device->request && device->pool && device->device);
                assert(device->is_admin_access == (device->slot == LEDGER_NO_SLOT));
                assert(device->is_admin_access || device->slot < DEVICE_INDEX_MAX);
        }
}

static void decode(const char *bytes, size_t n)
{
        _cleanup_(free) char *first = NULL, *second = NULL;
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL, *again = NULL;
        struct error error = ERROR_NULL;
        size_t n_first, n_second;
        int r;

        r = claims_record_decode(bytes, n, &claim, &error);
        assert(r == 0 || r == CLAIMS_RECORD_NEWER || r == -EBADMSG);
        assert(!r == !!claim && !r == !error.code && !r == !error.text[0]);
        if (r)
                return;
        check_claim(claim);
        first = claims_record_encode(claim, &n_first);
        r = claims_record_decode(first, n_first, &again, &error);
        assert(!r);
        second = claims_record_encode(again, &n_second);
        assert(n_first == n_second && memcmp(first, second, n_first) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(free) char *record = xmalloc(n + 64);
        int n_header;

        decode((const char *)bytes, n);
        n_header = snprintf(record, 64, "dra-driver-tdx claim 1 crc32c %08x %zu bytes\n",
                            crc32c(bytes, n), n);
        if (n)
                memcpy(record + n_header, bytes, n);
        decode(record, (size_t)n_header + n);
        return 0;
}
