/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/spec.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

/* "bind" marks this as a bind mount, because cdiVersion 0.3.0 has no type field. "ro" does not
 * prevent connecting to a socket (the kernel does not check the mount), and the directory holds
 * neither programs nor devices. Not "rbind": "ro" applies to the topmost mount only, so mounts
 * below it would come along writable. "rprivate" keeps later mounts on the host out of the VM's
 * container. */
#define MOUNT_OPTIONS "[\"bind\",\"ro\",\"nosuid\",\"nodev\",\"noexec\",\"rprivate\"]"

static void add_quoted(struct text *text, const char *string)
{
        _cleanup_(json) struct json *value = json_new_string(string);
        _cleanup_(free) char *quoted = json_print(value);

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
