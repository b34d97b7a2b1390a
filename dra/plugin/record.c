/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/record.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "plugin/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#define NAME     "plugin-devices"
#define VERSION  2
#define READ_MAX (8 << 20)

struct plugin_record {
        char *state_dir;
        char *path;
        bool is_whole; /* the file on disk is ours and up to date */
};

struct plugin_record *plugin_record_new(const char *state_dir)
{
        struct plugin_record *record = xcalloc(1, sizeof(*record));

        record->state_dir = xstrdup(state_dir);
        record->path = xasprintf("%s/" NAME, state_dir);
        return record;
}

void plugin_record_free(struct plugin_record *record)
{
        if (!record)
                return;
        free(record->state_dir);
        free(record->path);
        free(record);
}

/* ---- writing ---- */

static void append_place(struct json *array, const struct plugin_holder *holder)
{
        struct json *place;

        if (!holder->pod_uid && !holder->cgroup)
                return;
        place = json_new_object();
        if (holder->pod_uid)
                json_add_string(place, "pod", holder->pod_uid);
        if (holder->cgroup)
                json_add_string(place, "cgroup", holder->cgroup);
        json_append(array, place);
}

static char *print_line(const struct plugin_holder *holders, size_t n)
{
        _cleanup_(json) struct json *array = json_new_array();
        _cleanup_(free) char *text = NULL;
        struct json *header = json_new_object();

        json_add_int(header, "version", VERSION);
        json_append(array, header);
        for (size_t i = 0; i < n; ++i) {
                json_append(array, json_new_string(holders[i].id));
                append_place(array, &holders[i]);
        }
        text = json_print(array);
        return xasprintf("%s\n", text);
}

int plugin_record_write(struct plugin_record *record, const struct plugin_holder *holders, size_t n,
                        struct error *err)
{
        _cleanup_(free) char *line = print_line(holders, n);
        _cleanup_(close) int directory = -1;
        int r;

        record->is_whole = false;
        r = file_open_directory(record->state_dir, 0700, &directory, err);
        if (r < 0)
                return r;
        /* Unsynced: only a loss of power could lose the file, and no pod survives that. */
        r = file_replace(directory, NAME, line, strlen(line), 0600, FILE_UNSYNCED, err);
        if (r < 0)
                return r;
        record->is_whole = true;
        return 0;
}

int plugin_record_append(struct plugin_record *record, const struct plugin_holder *holders,
                         size_t n, struct error *err)
{
        _cleanup_(free) char *line = NULL;
        int r = -ENOENT;

        /* Open it each time: a descriptor kept open for writing would keep the admin from
         * remounting the disk read-only. */
        if (record->is_whole) {
                line = print_line(holders, n);
                r = file_append(AT_FDCWD, record->path, line, strlen(line), err);
        }
        /* A failed append may leave half a line, so the next write replaces the file. */
        record->is_whole = r == 0;
        if (r == -ENOENT) /* never written by this process, or removed since */
                return error_set(err, -ESTALE, "the record of plugin devices is missing");
        return r;
}

/* ---- reading ---- */

static size_t read_line(const char *line, size_t n,
                        void (*on_holder)(void *owner, const struct plugin_holder *holder),
                        void *owner, struct error *err)
{
        _cleanup_(json) struct json *array = NULL;
        const struct json *value, *place;
        size_t n_ids = 0;

        if (json_parse(line, n, &array, err) < 0)
                return 0;
        if (!json_is_array(array)) {
                error_set(err, -EBADMSG, "a line is not an array");
                return 0;
        }
        for (value = json_first(array); value; value = json_next(value)) {
                /* The header and the places are objects; skip those of later versions, too. */
                if (!json_string(value))
                        continue;
                ++n_ids;
                place = json_next(value);
                if (on_holder)
                        on_holder(owner,
                                  &(struct plugin_holder){
                                          json_string(value), json_string(json_get(place, "pod")),
                                          json_string(json_get(place, "cgroup")) });
        }
        return n_ids;
}

size_t plugin_record_parse(const char *bytes, size_t n,
                           void (*on_holder)(void *owner, const struct plugin_holder *holder),
                           void *owner, struct error *err)
{
        size_t n_ids = 0;

        for (size_t begin = 0, end; begin < n; begin = end) {
                const char *newline = memchr(bytes + begin, '\n', n - begin);

                end = newline ? (size_t)(newline - bytes) + 1 : n;
                n_ids += read_line(bytes + begin, end - begin, on_holder, owner, err);
        }
        return n_ids;
}

size_t plugin_record_read(const char *state_dir,
                          void (*on_holder)(void *owner, const struct plugin_holder *holder),
                          void *owner)
{
        _cleanup_(free) char *path = xasprintf("%s/" NAME, state_dir);
        _cleanup_(free) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n = 0, n_ids;

        if (file_read(AT_FDCWD, path, READ_MAX, &bytes, &n, &error) == -ENOENT)
                return 0;
        n_ids = plugin_record_parse(bytes, n, on_holder, owner, &error);
        if (error.code)
                log_warn("cannot read the whole record of allocated devices; kubelet's list "
                         "must do for the rest",
                         log_str("file", path), log_str("reason", error.text));
        return n_ids;
}
