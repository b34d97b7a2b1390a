/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classic device plugin devices.kubevirt.io/tdx (k8s.io/kubelet deviceplugin v1beta1; VEP 107),
 * for pods that do not use DRA.
 *
 * It registers with kubelet again if kubelet.sock is new (kubelet has restarted and wiped our
 * socket), if our ListAndWatch stream was cancelled (the exit of an older registrant of the name
 * cuts off the newer), or if kubelet refused Register. If only our socket has vanished, it listens
 * again without registering: kubelet's connection lives on, and kubelet refuses a second
 * registration of the same socket since 1.37. While a foreign plugin of the same name runs
 * (kubevirt-tdx.sock, virt-handler's own), it stays unregistered: kubelet accepts one plugin per
 * resource name.
 */
#pragma once

#include "rpc/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct cdi_mount;
struct plugin_service;
struct error;
struct kubelet;
struct rpc_pump;

#define PLUGIN_SERVICE_FOREIGN    "kubevirt-tdx.sock" /* of KubeVirt's own plugin */
#define PLUGIN_SERVICE_RESOURCE   "devices.kubevirt.io/tdx"
#define PLUGIN_SERVICE_CDI_PREFIX "plugin-tdx" /* "plugin-tdx5" */
#define PLUGIN_SERVICE_DIRECTORY  "plugin-tdx" /* of the quote relay's, for each device */

enum plugin_service_inject {
        PLUGIN_SERVICE_MOUNTS, /* plain mounts: any container runtime */
        PLUGIN_SERVICE_CDI     /* names of CDI devices */
};

enum plugin_service_standing {
        PLUGIN_SERVICE_UNREGISTERED,
        PLUGIN_SERVICE_REGISTERED, /* kubelet has answered Register, and its ListAndWatch stream for
                                      it is open */
        PLUGIN_SERVICE_STANDS_BACK /* a foreign plugin serves the name */
};

struct plugin_service_device {
        const char *id;
        bool is_healthy;
};

struct plugin_service_options {
        uv_loop_t *loop;
        struct rpc_pump *pump;
        struct rpc_server *server; /* gets the service and its connections */
        struct kubelet *kubelet;   /* knows where its sockets are */
        enum plugin_service_inject inject;
        /* kubelet wants to give these IDs (known names, none twice) to a container. 0: they are
         * held from now on; or a negative errno with the reason for the pod's user in err, and
         * nothing changed. */
        int (*on_allocate)(void *owner, const char *const *ids, size_t n, struct error *err);
        void (*on_kubelet_started)(void *owner); /* kubelet.sock is new */
        void (*on_standing)(void *owner, enum plugin_service_standing standing, const char *reason);
        void *owner;
};

/* Borrows what options points to. Serves nothing until plugin_service_set(), but reports a foreign
 * plugin right away. */
struct plugin_service *plugin_service_new(const struct plugin_service_options *options);

/* What to mount into pods with PLUGIN_SERVICE_MOUNTS from now on, read-only. Copied; call it before
 * the first Allocate. */
void plugin_service_set_mount(struct plugin_service *plugin, const struct cdi_mount *mount);

/* The devices for ListAndWatch from now on; copied, IDs too. Open streams get the list if it
 * differs. */
void plugin_service_set(struct plugin_service *plugin, const struct plugin_service_device *devices,
                        size_t n);

/* Check the sockets and the registration. Call it from a slow timer. */
void plugin_service_check(struct plugin_service *plugin);

/* As kubelet_age_ms(); UINT64_MAX: kubelet has no device manager, so its list is complete. */
uint64_t plugin_service_kubelet_age_ms(struct plugin_service *plugin);

enum plugin_service_standing plugin_service_standing(const struct plugin_service *plugin);
/* Lists sent to kubelet so far. */
uint64_t plugin_service_n_lists(const struct plugin_service *plugin);

/* End the streams, which makes all devices Unhealthy for kubelet, and remove the socket. */
void plugin_service_stop(struct plugin_service *plugin);
/* After the server has stopped. NULL is fine. */
void plugin_service_free(struct plugin_service *plugin);
