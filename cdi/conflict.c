/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/conflict.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cdi/spec.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define SPEC_MAX (4 << 20)

/* All our device names begin with one of these, one for each path: "dra-tdx5". */
static const char *const device_parts[] = { "dra-tdx", "plugin-tdx" };

static bool is_our_device(const char *name)
{
        for (size_t i = 0; name && i < array_size(device_parts); ++i)
                if (strncmp(name, device_parts[i], strlen(device_parts[i])) == 0)
                        return true;
        return false;
}

static bool does_json_name_us(const char *bytes, size_t n)
{
        _cleanup_(json) struct json *spec = NULL;
        const struct json *device;
        const char *kind;

        if (json_parse(bytes, n, &spec, NULL) < 0)
                return false; /* a runtime cannot parse it either */
        kind = json_string(json_get(spec, "kind"));
        if (!kind || strcmp(kind, CDI_KIND) != 0)
                return false;
        device = json_first(json_get(spec, "devices"));
        for (; device; device = json_next(device))
                if (is_our_device(json_string(json_get(device, "name"))))
                        return true;
        return false;
}

bool cdi_conflict_names_us(const char *bytes, size_t n, bool is_json)
{
        bool has_device = false;

        if (is_json)
                return does_json_name_us(bytes, n);
        for (size_t i = 0; i < array_size(device_parts); ++i)
                has_device |= !!memmem(bytes, n, device_parts[i], strlen(device_parts[i]));
        return has_device && memmem(bytes, n, CDI_KIND, strlen(CDI_KIND));
}

static bool ends_in(const char *name, const char *end)
{
        size_t n = strlen(name), n_end = strlen(end);

        return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

/* The names that a runtime reads: *.json and *.yaml (CDI pkg/cdi/spec-dirs.go). */
static int is_another_spec(const struct dirent *entry)
{
        const char *name = entry->d_name;

        return name[0] != '.' && strcmp(name, CDI_SPEC_FILE) != 0 &&
               (ends_in(name, ".json") || ends_in(name, ".yaml"));
}

static bool does_file_name_us(const char *path)
{
        _cleanup_(free) char *bytes = NULL;
        size_t n;

        return file_read(AT_FDCWD, path, SPEC_MAX, &bytes, &n, NULL) == 0 &&
               cdi_conflict_names_us(bytes, n, ends_in(path, ".json"));
}

char *cdi_conflict_find(const char *directory)
{
        struct dirent **entries = NULL;
        char *found = NULL;
        int n = scandir(directory, &entries, is_another_spec, alphasort);

        for (int i = 0; i < n; ++i) {
                _cleanup_(free) char *path = xasprintf("%s/%s", directory, entries[i]->d_name);

                if (!found && does_file_name_us(path))
                        found = take_ptr(path);
                free(entries[i]);
        }
        free(entries);
        return found;
}
