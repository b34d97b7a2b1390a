/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/kubelet_checkpoint.h"

#include "base/error.h"
#include "base/json.h"

#include <errno.h>
#include <string.h>

int kubelet_checkpoint_parse(const char *bytes, size_t n, const char *resource,
                             void (*on_device)(void *owner, const char *id, const char *pod_uid),
                             void *owner, struct error *err)
{
        _cleanup_(json) struct json *checkpoint = NULL;
        const struct json *data, *entry, *node, *id;
        int r;

        r = json_parse(bytes, n, &checkpoint, err);
        if (r < 0)
                return r;
        data = json_get(checkpoint, "Data");
        if (!json_is_object(data))
                return error_set(err, -EBADMSG, "it has no Data");
        entry = json_first(json_get(data, "PodDeviceEntries"));
        for (; entry; entry = json_next(entry)) {
                const char *name = json_string(json_get(entry, "ResourceName"));
                const char *pod_uid = json_string(json_get(entry, "PodUID"));

                if (!name || !pod_uid || strcmp(name, resource) != 0)
                        continue;
                /* It maps NUMA nodes to lists of IDs. */
                node = json_first(json_get(entry, "DeviceIDs"));
                for (; node; node = json_next(node))
                        for (id = json_first(node); id; id = json_next(id))
                                if (json_string(id))
                                        on_device(owner, json_string(id), pod_uid);
        }
        return 0;
}
