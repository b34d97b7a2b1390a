/* SPDX-License-Identifier: Apache-2.0 */
#include "attestation_record.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define ENFORCED "enforced"
#define SOCKET   "qgsSocketPath"
#define REFUSAL  "qgsSocketPathRefused"

char *attestation_record_build(const struct kubevirt_attestation *values)
{
        _cleanup_(json) struct json *record = json_new_object();

        json_add_bool(record, ENFORCED, values->is_enforced);
        json_add_string(record, SOCKET, values->qgs_socket);
        if (values->qgs_socket_refusal)
                json_add_string(record, REFUSAL, values->qgs_socket_refusal);
        return json_print(record);
}

static bool is_refusal(const char *text)
{
        size_t n = text ? strlen(text) : 0;

        if (!n || n >= ERROR_TEXT_SIZE || text_utf8_prefix(text, n) != n)
                return false;
        /* The text goes into logs and Events, so it must be one line. */
        for (size_t i = 0; i < n; ++i)
                if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
                        return false;
        return true;
}

static int partial(struct error *err, const char *reason)
{
        (void)error_set(err, -EBADMSG, "%s", reason);
        return ATTESTATION_RECORD_PARTIAL;
}

int attestation_record_parse(const char *bytes, size_t n, kubevirt_check_path *check,
                             struct kubevirt_attestation *ret, struct error *err)
{
        struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;
        _cleanup_(json) struct json *record = NULL;
        const char *socket, *refusal;
        int outcome = 0, r;

        r = json_parse(bytes, n, &record, err);
        if (r < 0)
                return r;
        if (!json_is_object(record))
                return error_set(err, -EBADMSG, "it is not a JSON object");
        if (json_bool(json_get(record, ENFORCED), &found.is_enforced) < 0)
                outcome = partial(err, "it does not say whether attestation is enforced");
        socket = json_string(json_get(record, SOCKET));
        if (!socket) {
                outcome = partial(err, "it has no " SOCKET);
        } else if (check(socket, err) < 0) {
                socket = NULL;
                outcome = ATTESTATION_RECORD_PARTIAL;
        }
        /* A damaged path falls back to the default alone: `enforced` is what keeps VMs off a node
         * without QGS, and must survive. */
        found.qgs_socket = xstrdup(socket ? socket : KUBEVIRT_QGS_SOCKET);
        refusal = json_string(json_get(record, REFUSAL));
        if (is_refusal(refusal))
                found.qgs_socket_refusal = xstrdup(refusal);
        *ret = found;
        return outcome;
}

int attestation_record_save(const char *state_dir, const struct kubevirt_attestation *values,
                            struct error *err)
{
        _cleanup_(close) int fd = -1;
        _cleanup_(free) char *text = attestation_record_build(values);
        int r;

        r = file_open_directory(state_dir, 0700, &fd, err);
        return r ? r
                 : file_replace(fd, ATTESTATION_RECORD, text, strlen(text), 0600, FILE_UNSYNCED,
                                err);
}

int attestation_record_load(const char *state_dir, kubevirt_check_path *check,
                            struct kubevirt_attestation *ret, struct error *err)
{
        _cleanup_(free) char *path = xasprintf("%s/" ATTESTATION_RECORD, state_dir);
        _cleanup_(free) char *bytes = NULL;
        size_t n;
        int r;

        r = file_read(AT_FDCWD, path, ATTESTATION_RECORD_MAX, &bytes, &n, err);
        return r ? r : attestation_record_parse(bytes, n, check, ret, err);
}

bool attestation_record_last(const char *state_dir, kubevirt_check_path *check,
                             struct kubevirt_attestation *ret)
{
        struct error error = ERROR_NULL;
        int r;

        r = attestation_record_load(state_dir, check, ret, &error);
        if (r == ATTESTATION_RECORD_PARTIAL)
                log_warn("the attestation settings of the last run are damaged; using what is left",
                         log_str("directory", state_dir), log_str("reason", error.text));
        else if (r < 0 && r != -ENOENT)
                log_warn("cannot read the attestation settings of the last run; ignoring them",
                         log_str("directory", state_dir), log_str("reason", error.text));
        if (r < 0)
                *ret = kubevirt_attestation_defaults();
        return r == 0;
}
