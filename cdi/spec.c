/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/spec.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

/* "bind" makes runtimes take this for a bind mount, as cdiVersion 0.3.0 has no type. A read-only
 * one is enough to connect to a socket (the kernel does not ask the mount), and nothing in the
 * directory is a program or a device. Not "rbind": "ro" holds for the topmost mount only, so that
 * whatever is mounted further down would come along writable. "rprivate": nothing that the host
 * mounts there later becomes the VM's business. */
#define MOUNT_OPTIONS "[\"bind\",\"ro\",\"nosuid\",\"nodev\",\"noexec\",\"rprivate\"]"

static void add_quoted(struct text *text, const char *string)
{
        _cleanup_(json) struct json *value = json_new_string(string);
        __attribute__((cleanup(cleanup_free))) char *quoted = json_print(value);

        text_add(text, quoted);
}

char *cdi_spec_build(const struct cdi_spec *spec, size_t *ret_n)
{
        struct text edits = TEXT_NULL, text = TEXT_NULL;
        const char *separator = "";

        if (!spec->n_devices || !spec->n_prefixes) {
                *ret_n = 0;
                return NULL;
        }
        text_add(&edits, "{\"mounts\":[{\"hostPath\":");
        add_quoted(&edits, spec->mount.host_path);
        text_add(&edits, ",\"containerPath\":");
        add_quoted(&edits, spec->mount.container_path);
        text_add(&edits, ",\"options\":" MOUNT_OPTIONS "}]");
        if (spec->group)
                text_addf(&edits, ",\"additionalGids\":[%u]", spec->group);
        text_add(&edits, "}");
        text_addf(&text, "{\"cdiVersion\":\"%s\",\"kind\":\"" CDI_KIND "\",\"devices\":[",
                  spec->group ? "0.7.0" : "0.3.0");
        for (size_t i = 0; i < spec->n_prefixes; ++i)
                for (size_t j = 0; j < spec->n_devices; ++j) {
                        text_addf(&text, "%s{\"name\":\"%s%zu\",\"containerEdits\":", separator,
                                  spec->prefixes[i], j);
                        text_add_bytes(&text, edits.bytes, edits.n);
                        text_add(&text, "}");
                        separator = ",";
                }
        text_add(&text, "]}\n");
        text_deinit(&edits);
        *ret_n = text.n;
        return text_take(&text);
}

char *cdi_device_id(const char *prefix, unsigned index)
{
        return xasprintf(CDI_KIND "=%s%u", prefix, index);
}
