/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/record.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/parse.h"
#include "base/text.h"
#include "device.h"
#include "ledger.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define MAGIC    "dra-driver-tdx claim "
#define VERSION  1
#define PODS_MAX 256 /* ResourceClaimReservedForMaxSize */

/* CRC-32C (Castagnoli, reflected), by nibble with a table of 16: records are small and few. */
static uint32_t crc32c(const char *bytes, size_t n)
{
        static const uint32_t nibbles[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                              0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                              0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                              0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
        uint32_t crc = ~0U;

        for (size_t i = 0; i < n; ++i) {
                crc ^= (unsigned char)bytes[i];
                crc = (crc >> 4) ^ nibbles[crc & 15];
                crc = (crc >> 4) ^ nibbles[crc & 15];
        }
        return ~crc;
}

static char *make_header(const char *json, size_t n)
{
        return xasprintf(MAGIC "%d crc32c %08x %zu bytes\n", VERSION, crc32c(json, n), n);
}

char *claims_record_encode(const struct ledger_claim *claim, size_t *ret_n)
{
        _cleanup_(json) struct json *record = json_new_object();
        _cleanup_(free) char *json = NULL, *header = NULL;
        struct text text = TEXT_NULL;
        struct json *devices;

        json_add_string(record, "uid", claim->uid);
        json_add_string(record, "namespace", claim->namespace_);
        json_add_string(record, "name", claim->name);
        json_add_string(record, "bootID", claim->boot_id ? claim->boot_id : "");
        if (claim->is_uncertain)
                json_add_int(record, "uncertainTDs", claim->uncertain_tds);
        devices = json_add_array(record, "devices");
        for (size_t i = 0; i < claim->n_devices; ++i) {
                const struct ledger_device *device = &claim->devices[i];
                struct json *entry = json_new_object();

                json_add_string(entry, "request", device->request);
                json_add_string(entry, "pool", device->pool);
                json_add_string(entry, "device", device->device);
                /* A device with adminAccess uses no TD, so it has no slot. */
                if (device->is_admin_access)
                        json_add_bool(entry, "adminAccess", true);
                else
                        json_add_int(entry, "slot", device->slot);
                json_append(devices, entry);
        }
        if (claim->n_pods) {
                struct json *pods = json_add_array(record, "pods");

                for (size_t i = 0; i < claim->n_pods; ++i)
                        json_append(pods, json_new_string(claim->pod_uids[i]));
        }
        json = json_print(record);
        header = make_header(json, strlen(json));
        text_add(&text, header);
        text_add(&text, json);
        *ret_n = text.n;
        return text_take(&text);
}

/* Rebuild the header and compare, rather than parse its fields: no deviation then goes unnoticed.
 */
static int check_header(const char *bytes, size_t n_header, const char *json, size_t n_json,
                        struct error *err)
{
        _cleanup_(free) char *wanted = make_header(json, n_json);

        if (strlen(wanted) == n_header && memcmp(wanted, bytes, n_header) == 0)
                return 0;
        return error_set(err, -EBADMSG,
                         "damaged or truncated: its checksum or length does not match");
}

static int take_string(const struct json *object, const char *key, char **ret, struct error *err)
{
        const char *string = json_string(json_get(object, key));

        if (!string)
                return error_set(err, -EBADMSG, "%s is missing or no string", key);
        *ret = xstrdup(string);
        return 0;
}

/* A missing field means false. */
static int take_bool(const struct json *object, const char *key, bool *ret, struct error *err)
{
        const struct json *value = json_get(object, key);

        if (value && json_bool(value, ret) < 0)
                return error_set(err, -EBADMSG, "%s is not a boolean", key);
        return 0;
}

static int decode_device(const struct json *entry, struct ledger_device *device, struct error *err)
{
        int64_t slot = LEDGER_NO_SLOT;
        int r;

        r = take_string(entry, "request", &device->request, err);
        if (!r)
                r = take_string(entry, "pool", &device->pool, err);
        if (!r)
                r = take_string(entry, "device", &device->device, err);
        if (!r)
                r = take_bool(entry, "adminAccess", &device->is_admin_access, err);
        if (r < 0)
                return r;
        if (!device->is_admin_access && (json_int64(json_get(entry, "slot"), &slot) < 0 ||
                                         slot < 0 || slot >= DEVICE_INDEX_MAX))
                return error_set(err, -EBADMSG, "slot is missing or out of range");
        device->slot = (uint32_t)slot;
        return 0;
}

static int decode_devices(const struct json *devices, struct ledger_claim *claim, struct error *err)
{
        struct ledger_device *device = claim->devices;

        for (const struct json *entry = json_first(devices); entry; entry = json_next(entry)) {
                int r = decode_device(entry, device, err);

                if (r < 0)
                        return r;
                /* The same request may appear twice (a count of 2), the same TD may not. */
                for (const struct ledger_device *other = claim->devices; other < device; ++other)
                        if (device->slot != LEDGER_NO_SLOT && other->slot == device->slot)
                                return error_set(err, -EBADMSG, "slot %u is there twice",
                                                 device->slot);
                ++device;
        }
        return 0;
}

static int take_uncertain(const struct json *value, struct ledger_claim *claim, struct error *err)
{
        int64_t n = 0;

        if (!value)
                return 0;
        if (json_int64(value, &n) < 0 || n < 0 || n > CLAIMS_RECORD_TDS_MAX)
                return error_set(err, -EBADMSG, "uncertainTDs is not a number of TDs");
        claim->is_uncertain = true;
        claim->uncertain_tds = (unsigned)n;
        return 0;
}

/* Older versions wrote no pods. */
static int decode_pods(const struct json *pods, struct ledger_claim *claim, struct error *err)
{
        if (!pods)
                return 0;
        if (!json_is_array(pods) || json_count(pods) > PODS_MAX)
                return error_set(err, -EBADMSG, "pods is not a list, or too long");
        claim->pod_uids = xcalloc(json_count(pods), sizeof(*claim->pod_uids));
        for (const struct json *pod = json_first(pods); pod; pod = json_next(pod)) {
                const char *uid = json_string(pod);

                if (!uid || !text_is_uid(uid))
                        return error_set(err, -EBADMSG, "pods has an entry that is not a UID");
                claim->pod_uids[claim->n_pods++] = xstrdup(uid);
        }
        return 0;
}

static int decode_json(const struct json *record, struct ledger_claim **ret_claim,
                       struct error *err)
{
        const char *uid = json_string(json_get(record, "uid"));
        const char *namespace_ = json_string(json_get(record, "namespace"));
        const char *name = json_string(json_get(record, "name"));
        const struct json *devices = json_get(record, "devices");
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;
        int r;

        if (!uid || !text_is_uid(uid) || !namespace_ || !name)
                return error_set(err, -EBADMSG, "uid, namespace or name is missing or malformed");
        if (!json_is_array(devices) || json_count(devices) > CLAIMS_RECORD_TDS_MAX)
                return error_set(err, -EBADMSG, "devices is missing or too long");
        claim = ledger_claim_new(uid, namespace_, name, json_count(devices));
        r = take_string(record, "bootID", &claim->boot_id, err);
        if (!r)
                r = take_uncertain(json_get(record, "uncertainTDs"), claim, err);
        if (!r)
                r = decode_devices(devices, claim, err);
        if (!r)
                r = decode_pods(json_get(record, "pods"), claim, err);
        if (!r)
                *ret_claim = take_ptr(claim);
        return r;
}

int claims_record_decode(const char *bytes, size_t n, struct ledger_claim **ret_claim,
                         struct error *err)
{
        const char *newline = n ? memchr(bytes, '\n', n) : NULL, *version;
        _cleanup_(json) struct json *record = NULL;
        uint64_t number = 0;
        size_t n_version;
        int r;

        if (!newline || n < strlen(MAGIC) || memcmp(bytes, MAGIC, strlen(MAGIC)) != 0)
                return error_set(err, -EBADMSG, "truncated, or no record of this driver");
        version = bytes + strlen(MAGIC);
        n_version = strcspn(version, " \n");
        /* Check the version before the checksum: a newer format may have another header, and such a
         * record must not pass for a damaged one. */
        if (parse_u64(version, n_version, &number) == 0 && number > VERSION) {
                error_set(err, -EPROTO, "written by a newer version of this driver (format %llu)",
                          (unsigned long long)number);
                return CLAIMS_RECORD_NEWER;
        }
        ++newline;
        r = check_header(bytes, (size_t)(newline - bytes), newline, n - (size_t)(newline - bytes),
                         err);
        if (!r)
                r = json_parse(newline, n - (size_t)(newline - bytes), &record, err);
        if (!r)
                r = decode_json(record, ret_claim, err);
        return r;
}
