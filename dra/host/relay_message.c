/* SPDX-License-Identifier: Apache-2.0 */
#include "host/relay_message.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- names ---- */

static const char *const path_names[] = { [RELAY_CLAIM] = "claim", [RELAY_PLUGIN] = "plugin" };

static const char *const outcome_names[] = {
        [RELAY_DELIVERED] = "delivered", [RELAY_QGS_ERROR] = "qgs-error",
        [RELAY_GAVE_UP] = "gave-up",     [RELAY_MALFORMED] = "malformed",
        [RELAY_LEFT] = "left",           [RELAY_REFUSED_TYPE] = "refused-type",
};

/* QGS_PROBE_NONE is never told. */
static const char *const result_names[] = {
        [QGS_PROBE_ANSWERED] = "answered", [QGS_PROBE_REFUSED] = "refused",
        [QGS_PROBE_FULL] = "full",         [QGS_PROBE_SILENT] = "silent",
        [QGS_PROBE_FAILING] = "failing",   [QGS_PROBE_NOT_ALLOWED] = "not-allowed",
        [QGS_PROBE_OURS] = "ours",
};

static const char *const kind_names[RELAY_N_KINDS] = {
        [RELAY_CONFIGURE] = "configure",
        [RELAY_ASK] = "ask",
        [RELAY_CONFIGURED] = "configured",
        [RELAY_REFUSED] = "refused",
        [RELAY_QUOTE] = "quote",
        [RELAY_SNAPSHOT] = "snapshot",
        [RELAY_QGS] = "qgs",
        [RELAY_SUCCEED] = "succeed",
        [RELAY_HANDOVER] = "handover",
        [RELAY_LISTENER] = "listener",
        [RELAY_SERVING] = "serving",
        [RELAY_REMAINING] = "remaining",
};

const char *relay_path_name(enum relay_path path)
{
        return path_names[path];
}

const char *relay_outcome_name(enum relay_outcome outcome)
{
        return outcome_names[outcome];
}

void relay_td_print(const struct relay_td *td, char ret[RELAY_TD_NAME_SIZE])
{
        (void)snprintf(ret, RELAY_TD_NAME_SIZE, "%s-tdx%u", path_names[td->path],
                       td->device % RELAY_DEVICES_MAX);
}

static int find_name(const char *const *names, size_t n_names, const char *name)
{
        for (size_t i = 0; name && i < n_names; ++i)
                if (names[i] && strcmp(names[i], name) == 0)
                        return (int)i;
        return -EBADMSG;
}

/* "tdx5" */
static int parse_device(const char *name, uint32_t *ret)
{
        uint64_t n;

        if (!name || strncmp(name, "tdx", 3) != 0 ||
            parse_u64(name + 3, strlen(name + 3), &n) < 0 || n >= RELAY_DEVICES_MAX ||
            (name[3] == '0' && name[4]))
                return -EINVAL;
        *ret = (uint32_t)n;
        return 0;
}

int relay_td_parse(const char *name, struct relay_td *ret)
{
        for (uint32_t path = 0; path < RELAY_N_PATHS; ++path) {
                size_t n = strlen(path_names[path]);
                uint32_t device;

                if (strncmp(name, path_names[path], n) != 0 || name[n] != '-' ||
                    parse_device(name + n + 1, &device) < 0)
                        continue;
                *ret = (struct relay_td){ .device = device, .path = path };
                return 0;
        }
        return -EINVAL;
}

bool relay_name_is_valid(const char *name)
{
        size_t n = strlen(name);

        if (!n || n > RELAY_NAME_MAX || *name == '.')
                return false;
        for (; *name; ++name)
                if (*name == '/' || (unsigned char)*name < ' ' || *name == 0x7f)
                        return false;
        return true;
}

bool relay_configuration_is_equal(const struct relay_configuration *a,
                                  const struct relay_configuration *b)
{
        return a->n_devices == b->n_devices && strcmp(a->qgs_socket, b->qgs_socket) == 0 &&
               strcmp(a->vm_name, b->vm_name) == 0;
}

/* ---- printing ---- */

static void add_td(struct json *object, const struct relay_td *td)
{
        char device[sizeof("tdx4294967295")];

        (void)snprintf(device, sizeof(device), "tdx%u", td->device);
        json_add_string(object, "device", device);
        json_add_string(object, "path", path_names[td->path]);
}

static void add_configuration(struct json *object, const struct relay_configuration *configuration)
{
        json_add_int(object, "devices", configuration->n_devices);
        json_add_string(object, "qgsSocket", configuration->qgs_socket);
        json_add_string(object, "vmName", configuration->vm_name);
}

static void add_quote(struct json *object, const struct relay_quote *quote)
{
        char digest[2 * RELAY_DIGEST_SIZE + 1];

        json_add_int(object, "timeMs", quote->time_ms);
        add_td(object, &quote->td);
        json_add_string(object, "outcome", outcome_names[quote->outcome]);
        json_add_int(object, "error", quote->error);
        json_add_int(object, "cause", quote->cause);
        json_add_int(object, "us", (int64_t)quote->us);
        if (!quote->has_digest)
                return;
        for (size_t i = 0; i < RELAY_DIGEST_SIZE; ++i)
                (void)snprintf(digest + 2 * i, 3, "%02x", quote->digest[i]);
        json_add_string(object, "reportDataSha256", digest);
}

static void add_snapshot(struct json *object, const struct relay_snapshot *snapshot)
{
        struct json *counts;

        if (!snapshot->is_of_node)
                add_td(object, &snapshot->td);
        else
                json_add_int(object, "lost", (int64_t)snapshot->n_lost);
        json_add_int(object, "deliveredMs", snapshot->counts.delivered_ms);
        counts = json_add_object(object, "counts");
        for (size_t i = 0; i < RELAY_N_OUTCOMES; ++i)
                json_add_int(counts, outcome_names[i], (int64_t)snapshot->counts.n[i]);
}

static void add_qgs(struct json *object, const struct relay_qgs *qgs)
{
        json_add_string(object, "result", qgs->is_absent ? "absent" : result_names[qgs->result]);
        json_add_string(object, "failure", qgs->failure);
}

static void add_body(struct json *object, const struct relay_message *message)
{
        switch (message->kind) {
        case RELAY_CONFIGURE:
        case RELAY_CONFIGURED:
                add_configuration(object, &message->configuration);
                break;
        case RELAY_REFUSED:
                json_add_string(object, "reason", message->text);
                break;
        case RELAY_QUOTE:
                add_quote(object, &message->quote);
                break;
        case RELAY_SNAPSHOT:
                add_snapshot(object, &message->snapshot);
                break;
        case RELAY_QGS:
                add_qgs(object, &message->qgs);
                break;
        case RELAY_HANDOVER:
                json_add_int(object, "listeners", message->count);
                if (message->has_configuration)
                        add_configuration(json_add_object(object, "configuration"),
                                          &message->configuration);
                break;
        case RELAY_LISTENER:
                add_td(object, &message->listener.td);
                json_add_string(object, "name", message->listener.name);
                break;
        case RELAY_REMAINING:
                json_add_int(object, "requests", message->count);
                break;
        case RELAY_ASK:
        case RELAY_SUCCEED:
        case RELAY_SERVING:
        case RELAY_N_KINDS:
                break;
        }
}

char *relay_message_print(const struct relay_message *message)
{
        _cleanup_(json) struct json *root = json_new_object();
        _cleanup_(free) char *text = NULL;

        add_body(json_add_object(root, kind_names[message->kind]), message);
        text = json_print(root);
        return xasprintf("%s\n", text);
}

/* ---- parsing: 0, or -EBADMSG ---- */

static int read_count(const struct json *object, const char *key, uint64_t max, uint64_t *ret)
{
        int64_t value;

        if (json_int64(json_get(object, key), &value) < 0 || value < 0 || (uint64_t)value > max)
                return -EBADMSG;
        *ret = (uint64_t)value;
        return 0;
}

static int read_u32(const struct json *object, const char *key, uint32_t max, uint32_t *ret)
{
        uint64_t value;

        if (read_count(object, key, max, &value) < 0)
                return -EBADMSG;
        *ret = (uint32_t)value;
        return 0;
}

static int read_text(const struct json *object, const char *key, char *ret, size_t n_ret)
{
        const char *text = json_string(json_get(object, key));

        if (!text || strlen(text) >= n_ret)
                return -EBADMSG;
        memcpy(ret, text, strlen(text) + 1);
        return 0;
}

static int read_name(const struct json *object, const char *key, char ret[RELAY_NAME_MAX + 1])
{
        int r = read_text(object, key, ret, RELAY_NAME_MAX + 1);

        return r < 0 || relay_name_is_valid(ret) ? r : -EBADMSG;
}

static int read_td(const struct json *object, struct relay_td *ret)
{
        int path = find_name(path_names, array_size(path_names),
                             json_string(json_get(object, "path")));

        if (path < 0 || parse_device(json_string(json_get(object, "device")), &ret->device) < 0)
                return -EBADMSG;
        ret->path = (uint32_t)path;
        return 0;
}

static int read_configuration(const struct json *object, struct relay_configuration *ret)
{
        if (read_u32(object, "devices", RELAY_DEVICES_MAX, &ret->n_devices) < 0 ||
            read_text(object, "qgsSocket", ret->qgs_socket, sizeof(ret->qgs_socket)) < 0 ||
            ret->qgs_socket[0] != '/' || read_name(object, "vmName", ret->vm_name) < 0)
                return -EBADMSG;
        return 0;
}

static int hex_digit(char c)
{
        static const char digits[] = "0123456789abcdef";
        const char *found = c ? strchr(digits, c) : NULL;

        return found ? (int)(found - digits) : -EBADMSG;
}

static int read_digest(const char *text, uint8_t ret[RELAY_DIGEST_SIZE])
{
        if (strlen(text) != (size_t)2 * RELAY_DIGEST_SIZE)
                return -EBADMSG;
        for (size_t i = 0; i < RELAY_DIGEST_SIZE; ++i) {
                int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

                if (high < 0 || low < 0)
                        return -EBADMSG;
                ret[i] = (uint8_t)(high << 4 | low);
        }
        return 0;
}

static int read_quote(const struct json *object, struct relay_quote *ret)
{
        const char *digest = json_string(json_get(object, "reportDataSha256"));
        int outcome = find_name(outcome_names, array_size(outcome_names),
                                json_string(json_get(object, "outcome")));
        uint64_t time_ms;
        int64_t cause;

        if (outcome < 0 || read_td(object, &ret->td) < 0 ||
            read_count(object, "timeMs", INT64_MAX, &time_ms) < 0 ||
            read_u32(object, "error", UINT32_MAX, &ret->error) < 0 ||
            json_int64(json_get(object, "cause"), &cause) < 0 || cause > 0 || cause < -4095 ||
            read_count(object, "us", INT64_MAX, &ret->us) < 0 ||
            (digest && read_digest(digest, ret->digest) < 0))
                return -EBADMSG;
        ret->outcome = (enum relay_outcome)outcome;
        ret->time_ms = (int64_t)time_ms;
        ret->cause = (int32_t)cause;
        ret->has_digest = digest != NULL;
        return 0;
}

static int read_snapshot(const struct json *object, struct relay_snapshot *ret)
{
        const struct json *counts = json_get(object, "counts");
        uint64_t delivered_ms;

        ret->is_of_node = !json_get(object, "device");
        if ((ret->is_of_node ? read_count(object, "lost", INT64_MAX, &ret->n_lost)
                             : read_td(object, &ret->td)) < 0 ||
            read_count(object, "deliveredMs", INT64_MAX, &delivered_ms) < 0)
                return -EBADMSG;
        ret->counts.delivered_ms = (int64_t)delivered_ms;
        /* An outcome that the other version does not have counts zero. */
        for (size_t i = 0; i < RELAY_N_OUTCOMES; ++i)
                if (json_get(counts, outcome_names[i]) &&
                    read_count(counts, outcome_names[i], INT64_MAX, &ret->counts.n[i]) < 0)
                        return -EBADMSG;
        return json_is_object(counts) ? 0 : -EBADMSG;
}

static int read_qgs(const struct json *object, struct relay_qgs *ret)
{
        const char *name = json_string(json_get(object, "result"));
        int result = find_name(result_names, array_size(result_names), name);

        ret->is_absent = name && strcmp(name, "absent") == 0;
        if ((result < 0 && !ret->is_absent) ||
            read_text(object, "failure", ret->failure, sizeof(ret->failure)) < 0)
                return -EBADMSG;
        ret->result = ret->is_absent ? QGS_PROBE_OURS : (enum qgs_probe_result)result;
        return 0;
}

static int read_handover(const struct json *object, struct relay_message *ret)
{
        const struct json *configuration = json_get(object, "configuration");

        ret->has_configuration = configuration != NULL;
        if (configuration && read_configuration(configuration, &ret->configuration) < 0)
                return -EBADMSG;
        return read_u32(object, "listeners", UINT32_MAX, &ret->count);
}

static int read_listener(const struct json *object, struct relay_listener *ret)
{
        return read_td(object, &ret->td) < 0 ? -EBADMSG : read_name(object, "name", ret->name);
}

static int read_body(const struct json *object, struct relay_message *ret)
{
        switch (ret->kind) {
        case RELAY_CONFIGURE:
        case RELAY_CONFIGURED:
                return read_configuration(object, &ret->configuration);
        case RELAY_REFUSED:
                return read_text(object, "reason", ret->text, sizeof(ret->text));
        case RELAY_QUOTE:
                return read_quote(object, &ret->quote);
        case RELAY_SNAPSHOT:
                return read_snapshot(object, &ret->snapshot);
        case RELAY_QGS:
                return read_qgs(object, &ret->qgs);
        case RELAY_HANDOVER:
                return read_handover(object, ret);
        case RELAY_LISTENER:
                return read_listener(object, &ret->listener);
        case RELAY_REMAINING:
                return read_u32(object, "requests", UINT32_MAX, &ret->count);
        case RELAY_ASK:
        case RELAY_SUCCEED:
        case RELAY_SERVING:
        case RELAY_N_KINDS:
                break;
        }
        return json_is_object(object) ? 0 : -EBADMSG;
}

int relay_message_parse(const char *line, size_t n, struct relay_message *ret, struct error *err)
{
        _cleanup_(json) struct json *root = NULL;
        struct relay_message message = { 0 };
        const struct json *body;
        int kind, r;

        r = json_parse(line, n, &root, err);
        if (r < 0)
                return r;
        body = json_first(root);
        if (!json_is_object(root) || json_count(root) != 1)
                return error_set(err, -EBADMSG, "not an object with one member");
        kind = find_name(kind_names, array_size(kind_names), json_key(body));
        if (kind < 0)
                return RELAY_MESSAGE_UNKNOWN;
        message.kind = (enum relay_message_kind)kind;
        if (read_body(body, &message) < 0)
                return error_set(err, -EBADMSG, "\"%s\" misses a value, or has an impossible one",
                                 json_key(body));
        *ret = message;
        return 0;
}
