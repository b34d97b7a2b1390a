/* SPDX-License-Identifier: Apache-2.0 */
#include "host/kubelet.h"

#include "base/memory.h"
#include "base/socket.h"
#include "host/socketage.h"

struct kubelet {
        char *device_plugin_directory;
        char *device_manager_socket;
        char *podresources_directory;
        char *podresources_socket;
        struct socket_age device_manager_age, podresources_age;
};

struct kubelet *kubelet_new(const char *directory, const char *device_plugin_directory)
{
        struct kubelet *kubelet = xcalloc(1, sizeof(*kubelet));

        kubelet->device_plugin_directory = xstrdup(device_plugin_directory);
        kubelet->device_manager_socket = xasprintf("%s/kubelet.sock", device_plugin_directory);
        kubelet->podresources_directory = xasprintf("%s/pod-resources", directory);
        kubelet->podresources_socket = xasprintf("%s/pod-resources/kubelet.sock", directory);
        return kubelet;
}

void kubelet_free(struct kubelet *kubelet)
{
        if (!kubelet)
                return;
        free(kubelet->device_plugin_directory);
        free(kubelet->device_manager_socket);
        free(kubelet->podresources_directory);
        free(kubelet->podresources_socket);
        free(kubelet);
}

const char *kubelet_device_plugin_directory(const struct kubelet *kubelet)
{
        return kubelet->device_plugin_directory;
}

const char *kubelet_device_manager_socket(const struct kubelet *kubelet)
{
        return kubelet->device_manager_socket;
}

const char *kubelet_podresources_directory(const struct kubelet *kubelet)
{
        return kubelet->podresources_directory;
}

const char *kubelet_podresources_socket(const struct kubelet *kubelet)
{
        return kubelet->podresources_socket;
}

bool kubelet_is_away(const struct kubelet *kubelet)
{
        /* The file alone proves nothing: it outlives kubelet. */
        return !socket_is_served(kubelet->podresources_socket);
}

bool kubelet_identify(const struct kubelet *kubelet, struct socket_identity *ret)
{
        return !kubelet_is_away(kubelet) && socket_identify(kubelet->podresources_socket, ret);
}

bool kubelet_has_device_manager(const struct kubelet *kubelet)
{
        struct socket_identity unused;

        return socket_identify(kubelet->device_manager_socket, &unused);
}

/* The younger of both sockets: a kubelet that has made only the first already answers, with an
 * empty list, while the other socket is still its predecessor's. */
uint64_t kubelet_age_ms(struct kubelet *kubelet, uint64_t now_ms)
{
        uint64_t devices_ms =
                socket_age_ms(&kubelet->device_manager_age, kubelet->device_manager_socket, now_ms);
        uint64_t pods_ms =
                socket_age_ms(&kubelet->podresources_age, kubelet->podresources_socket, now_ms);

        if (kubelet_is_away(kubelet))
                return 0;
        return devices_ms < pods_ms ? devices_ms : pods_ms;
}
