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

char *cdi_mount_source(const struct cdi_mount *mount, const char *directory, size_t index)
{
        if (!mount->is_per_device)
                return xstrdup(mount->host_path);
        return xasprintf("%s/%s%zu%s%s", mount->host_path, directory, index, mount->file ? "/" : "",
                         mount->file ? mount->file : "");
}

static void add_edits(const struct cdi_spec *spec, const char *directory, size_t index,
                      struct text *text)
{
        _cleanup_(free) char *source = cdi_mount_source(&spec->mount, directory, index);

        text_add(text, "{\"mounts\":[{\"hostPath\":");
        add_quoted(text, source);
        text_add(text, ",\"containerPath\":");
        add_quoted(text, spec->mount.container_path);
        text_add(text, ",\"options\":" MOUNT_OPTIONS "}]");
        if (spec->group)
                text_addf(text, ",\"additionalGids\":[%u]", spec->group);
        text_add(text, "}");
}

char *cdi_spec_build(const struct cdi_spec *spec, size_t *ret_n)
{
        struct text text = TEXT_NULL;
        const char *separator = "";

        if (!spec->n_devices || !spec->n_families) {
                *ret_n = 0;
                return NULL;
        }
        text_addf(&text, "{\"cdiVersion\":\"%s\",\"kind\":\"" CDI_KIND "\",\"devices\":[",
                  spec->group ? "0.7.0" : "0.3.0");
        for (size_t i = 0; i < spec->n_families; ++i)
                for (size_t j = 0; j < spec->n_devices; ++j) {
                        text_addf(&text, "%s{\"name\":\"%s%zu\",\"containerEdits\":", separator,
                                  spec->families[i].name, j);
                        add_edits(spec, spec->families[i].directory, j, &text);
                        text_add(&text, "}");
                        separator = ",";
                }
        text_add(&text, "]}\n");
        *ret_n = text.n;
        return text_take(&text);
}

char *cdi_device_id(const char *prefix, unsigned index)
{
        return xasprintf(CDI_KIND "=%s%u", prefix, index);
}
