/* SPDX-License-Identifier: Apache-2.0 */
#include "attestation_place.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "config.h"
#include "host/qgs_path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(const char *socket)
{
        return strrchr(socket, '/') + 1;
}

static int check_cr_path(const char *path, struct error *err)
{
        return qgs_path_check(KUBEVIRT_QGS_SOCKET_FIELD, path, "", err);
}

/* No directory of the host's is mounted but the relay's. */
static int check_relayed_cr_path(const char *path, struct error *err)
{
        return qgs_path_check_form(KUBEVIRT_QGS_SOCKET_FIELD, path, err);
}

kubevirt_check_path *attestation_place_check(const struct config *config)
{
        return config->is_relaying ? check_relayed_cr_path : check_cr_path;
}

/* Flags win. KubeVirt writes the path inside the VM's container into the VM's definition. On the
 * host QGS may be in another directory, but under the same file name, since only the directory is
 * mounted. */
static int check_place(const struct config *config, const char *vm, const char *host,
                       struct error *err)
{
        int r;

        if (strcmp(name_of(vm), name_of(host)) != 0)
                return error_set(
                        err, -EINVAL,
                        KUBEVIRT_QGS_SOCKET_FIELD
                        ": the VM's socket %s and the host's %s differ in their file names, "
                        "and only the directory can be mounted elsewhere: let --qgs-socket "
                        "and KubeVirt's qgsSocketPath end in the same name",
                        vm, host);
        if (config->qgs_socket && !config->is_relaying)
                return 0; /* config_check() did */
        r = config_check_qgs_socket(config, KUBEVIRT_QGS_SOCKET_FIELD, host, err);
        return r || !config->is_relaying ? r
                                         : qgs_path_check(KUBEVIRT_QGS_SOCKET_FIELD, vm, "", err);
}

void attestation_place_set(struct attestation_place *place, const struct config *config,
                           const struct kubevirt_attestation *values, bool is_direct)
{
        const char *vm = config->vm_qgs_socket ? config->vm_qgs_socket : values->qgs_socket,
                   *host = config->qgs_socket ? config->qgs_socket : values->qgs_socket;
        struct error error = ERROR_NULL;

        if (is_direct)
                (void)check_place(config, vm, host, &error);
        /* With both flags the CR's path has no effect here. */
        if (config->vm_qgs_socket && config->qgs_socket)
                text_replace(&place->refusal, NULL);
        else if (values->qgs_socket_refusal)
                text_replace(&place->refusal, values->qgs_socket_refusal);
        else
                text_replace(&place->refusal, error.code ? error.text : NULL);
        /* The first call applies the default, which config_check() has checked against the flags.
         */
        if (error.code && place->host_socket && place->is_direct)
                return;
        if (error.code && config->is_relaying)
                vm = host = QGS_PATH_DEFAULT; /* what was in force is for the relay alone */
        place->is_direct = is_direct;
        if (text_is_same(place->host_socket, host) && text_is_same(place->vm_socket, vm))
                return;
        text_replace(&place->host_socket, host);
        text_replace(&place->vm_socket, vm);
        free(place->host_directory);
        free(place->seen_directory);
        free(place->vm_directory);
        place->host_directory = file_directory_of(place->host_socket);
        place->seen_directory = qgs_path_seen(config->host_root, place->host_directory);
        place->vm_directory = file_directory_of(place->vm_socket);
}

void attestation_place_deinit(struct attestation_place *place)
{
        free(place->host_socket);
        free(place->vm_socket);
        free(place->host_directory);
        free(place->seen_directory);
        free(place->vm_directory);
        free(place->refusal);
}

const char *attestation_place_mounted_file(const struct attestation_place *place)
{
        struct error shared = ERROR_NULL;

        return qgs_path_check("", place->vm_socket, "", &shared) < 0 ? name_of(place->vm_socket)
                                                                     : NULL;
}
