/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classic device plugin devices.kubevirt.io/tdx (k8s.io/kubelet deviceplugin v1beta1; VEP 107),
 * for pods that know nothing of DRA.
 *
 * It registers itself with kubelet again and again: when kubelet.sock is a new one (kubelet has
 * started, and wiped our socket), when our ListAndWatch stream was cancelled (the exit of an older
 * registrant of the name cuts off the newer), when Register was refused. Where only our socket has
 * vanished it listens again: kubelet's connection lives on, and a second registration of the same
 * socket is refused since 1.37. While a foreign plugin of the same name lives (kubevirt-tdx.sock,
 * virt-handler's own), it stands back: kubelet cannot serve two.
 */
#pragma once

#include "rpc/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct deviceplugin;
struct error;
struct rpc_pump;

#define DEVICEPLUGIN_FOREIGN    "kubevirt-tdx.sock" /* of KubeVirt's own plugin */
#define DEVICEPLUGIN_RESOURCE   "devices.kubevirt.io/tdx"
#define DEVICEPLUGIN_CDI_PREFIX "plugin-tdx" /* "plugin-tdx5" */

enum deviceplugin_inject {
        DEVICEPLUGIN_MOUNTS, /* plain mounts: any container runtime */
        DEVICEPLUGIN_CDI     /* names of CDI devices */
};

enum deviceplugin_standing {
        DEVICEPLUGIN_UNREGISTERED,
        DEVICEPLUGIN_REGISTERED,
        DEVICEPLUGIN_STANDS_BACK /* a foreign plugin serves the name */
};

struct deviceplugin_device {
        const char *id;
        bool is_healthy;
};

struct deviceplugin_options {
        uv_loop_t *loop;
        struct rpc_pump *pump;
        struct rpc_server *server;       /* the service is added to it; connections go there */
        const char *directory;           /* <kubelet>/device-plugins */
        const char *podresources_socket; /* its age is kubelet's, too */
        enum deviceplugin_inject inject;
        /* kubelet wants to give these IDs (known names, none twice) to a container. 0: they are
         * held from now on; or a negative errno with the reason for the pod's user in err, and
         * nothing changed. */
        int (*on_allocate)(void *owner, const char *const *ids, size_t n, struct error *err);
        void (*on_kubelet_started)(void *owner); /* kubelet.sock is a new one */
        void (*on_standing)(void *owner, enum deviceplugin_standing standing, const char *reason);
        void *owner;
};

/* Borrows what options points to. Nothing is served before deviceplugin_set(); a foreign plugin is
 * told of before, too. */
struct deviceplugin *deviceplugin_new(const struct deviceplugin_options *options);

/* What a pod is given with DEVICEPLUGIN_MOUNTS, from now on: a directory of the host, read-only,
 * and where its container has it. Copied; to be called before the first Allocate. */
void deviceplugin_set_mount(struct deviceplugin *plugin, const char *source, const char *target);

/* What ListAndWatch says from now on; copied, IDs too. Streams are told when it differs. */
void deviceplugin_set(struct deviceplugin *plugin, const struct deviceplugin_device *devices,
                      size_t n);

/* Look again at sockets and registrants; for a slow timer. */
void deviceplugin_check(struct deviceplugin *plugin);

/* How long ago kubelet started, by the younger of kubelet.sock and podresources' socket;
 * UINT64_MAX: kubelet.sock is not there. */
uint64_t deviceplugin_kubelet_age_ms(struct deviceplugin *plugin);

enum deviceplugin_standing deviceplugin_standing(const struct deviceplugin *plugin);
/* Lists sent to kubelet so far. */
uint64_t deviceplugin_n_lists(const struct deviceplugin *plugin);

/* End the streams, at which kubelet takes all devices for Unhealthy; take the socket away. */
void deviceplugin_stop(struct deviceplugin *plugin);
/* After the server has stopped. The memory goes when the loop has turned. NULL is fine. */
void deviceplugin_free(struct deviceplugin *plugin);
