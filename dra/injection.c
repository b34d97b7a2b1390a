/* SPDX-License-Identifier: Apache-2.0 */
#include "injection.h"

#include "base/brake.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cdi/conflict.h"
#include "cdi/spec.h"
#include "cdi/store.h"
#include "claims/prepare.h"
#include "config.h"
#include "kube/runtime.h"
#include "plugin/service.h"
#include "surroundings.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct injection {
        struct injection_options options;
        struct cdi_store *store;
        unsigned n_devices;      /* for each prefix, in the latest spec */
        bool has_plugin_devices; /* the spec has the plugin's devices */
        char *conflict;          /* the other file that names our devices; NULL: none */
        char *runtime;           /* NULL: not known */
        bool is_runtime_told;    /* the log has said that it cannot read the spec */

        /* Code 0: no error. */
        struct error spec_error;  /* writing the CDI spec failed */
        struct error mount_error; /* creating the directory that VMs mount failed */
};

struct injection *injection_new(const struct injection_options *options)
{
        _cleanup_(free) char *other_way = surroundings_other_cdi_dir(options->config);
        struct injection *injection = xcalloc(1, sizeof(*injection));

        injection->options = *options;
        injection->store = cdi_store_new(options->config->cdi_dir);
        if (other_way)
                cdi_store_set_other_way(injection->store, other_way);
        return injection;
}

void injection_free(struct injection *injection)
{
        if (!injection)
                return;
        cdi_store_free(injection->store);
        free(injection->conflict);
        free(injection->runtime);
        free(injection);
}

/* Log each new text, but call on_changed only when the code changes: the offer depends on the code
 * alone. */
static void set_error(struct injection *injection, struct error *known, const struct error *now)
{
        bool is_new = known->code != now->code;

        if (strcmp(known->text, now->text) == 0)
                return;
        *known = *now;
        if (now->code)
                log_error("VMs cannot be given their devices", log_str("reason", now->text));
        if (!is_new)
                return;
        if (!now->code)
                log_info("VMs can be given their devices again");
        injection->options.on_changed(injection->options.owner);
}

/* Warn only once: the group comes and goes with QGS's socket. */
static void look_at_runtime(struct injection *injection)
{
        unsigned group = injection->options.attestation->group;

        if (!group || injection->is_runtime_told || !runtime_rejects_groups(injection->runtime))
                return;
        injection->is_runtime_told = true;
        log_warn("the container runtime is too old for the CDI spec, which gives VMs the group of "
                 "QGS's socket: containers with claims fail. Update it (containerd 1.7.20, CRI-O "
                 "1.30 or later), or make the socket writable for all (mode 0666)",
                 log_str("runtime", injection->runtime), log_int("group", group));
}

void injection_set_runtime(struct injection *injection, const char *version)
{
        free(injection->runtime);
        injection->runtime = version ? xstrdup(version) : NULL;
        injection->is_runtime_told = false;
        look_at_runtime(injection);
}

struct cdi_mount injection_mount(const struct attestation_facts *attestation)
{
        const char *file = attestation->mounted_file;

        return (struct cdi_mount){
                .host_path = attestation->host_directory,
                .container_path = file ? xasprintf("%s/%s", attestation->vm_directory, file)
                                       : xstrdup(attestation->vm_directory),
                .is_per_device = attestation->is_relayed,
                .file = file,
        };
}

void injection_set(struct injection *injection, unsigned n, bool is_for_plugin)
{
        static const struct cdi_family families[] = {
                { PREPARE_CDI_PREFIX, "claim-tdx" },
                { PLUGIN_SERVICE_CDI_PREFIX, PLUGIN_SERVICE_DIRECTORY },
        };
        const struct attestation_facts *attestation = injection->options.attestation;
        _cleanup_(free) char *bytes = NULL;
        struct error error = ERROR_NULL;
        struct cdi_spec spec;
        size_t n_bytes;

        injection->n_devices = n;
        /* Never drop the plugin's devices again: pods that were given their names look them up at
         * each restart of a container. */
        injection->has_plugin_devices |= is_for_plugin;
        spec = (struct cdi_spec){
                .families = families,
                .n_families = injection->has_plugin_devices ? 2 : 1,
                .n_devices = n,
                .mount = injection_mount(attestation),
                .group = attestation->group,
        };
        look_at_runtime(injection);
        bytes = cdi_spec_build(&spec, &n_bytes);
        free((char *)spec.mount.container_path);
        (void)cdi_store_set(injection->store, bytes, n_bytes, &error);
        set_error(injection, &injection->spec_error, &error);
}

unsigned injection_n_devices(const struct injection *injection)
{
        return injection->n_devices;
}

bool injection_has_plugin_devices(const struct injection *injection)
{
        return injection->has_plugin_devices;
}

/* The quote relay makes the directories, which no restart of it takes away. */
static int check_relay(const struct injection *injection, struct error *err)
{
        const char *directory = injection->options.attestation->host_directory;
        _cleanup_(free) char *last = NULL;
        struct stat file;

        if (!injection->n_devices)
                return 0;
        last = xasprintf("%s/claim-tdx%u", directory, injection->n_devices - 1);
        if (stat(last, &file) == 0)
                return 0;
        return error_set(err, -errno,
                         "the quote relay has not made %s, which a VM mounts: %s; see the log of "
                         "the container relay",
                         last, strerror(errno));
}

void injection_verify(struct injection *injection)
{
        const struct attestation_facts *attestation = injection->options.attestation;
        struct error spec_error = ERROR_NULL, mount_error = ERROR_NULL;

        if (cdi_store_verify(injection->store, &spec_error) == CDI_STORE_WRITTEN)
                log_warn_braked("the CDI spec was missing or changed, restored",
                                log_str("directory", injection->options.config->cdi_dir));
        if (attestation->is_relayed)
                (void)check_relay(injection, &mount_error);
        else if (attestation->seen_directory)
                (void)cdi_ensure_mount_source(attestation->seen_directory,
                                              attestation->host_directory, &mount_error);
        set_error(injection, &injection->spec_error, &spec_error);
        set_error(injection, &injection->mount_error, &mount_error);
}

void injection_look_for_conflict(struct injection *injection)
{
        _cleanup_(free) char *before = take_ptr(injection->conflict);
        _cleanup_(free) char *text = NULL;

        injection->conflict = cdi_conflict_find(injection->options.config->cdi_dir);
        if (!injection->conflict && before)
                log_info("no other CDI spec names our devices any more", log_str("was", before));
        if (!injection->conflict || (before && strcmp(before, injection->conflict) == 0))
                return;
        text = xasprintf("%s names the devices of " CDI_KIND ", as this driver's own spec does: "
                         "the container runtime resolves neither, and no VM starts. Remove it",
                         injection->conflict);
        log_error("another CDI spec names our devices", log_str("detail", text));
        injection->options.on_event(injection->options.owner, true, "TDXCDIConflict", text);
}

bool injection_lacks_spec(const struct injection *injection)
{
        return injection->spec_error.code;
}

const struct error *injection_obstacle(const struct injection *injection,
                                       enum attestation_means means)
{
        /* The mount concerns both paths, the spec only containers that get CDI names. */
        if (injection->mount_error.code)
                return &injection->mount_error;
        return injection->spec_error.code && means == ATTESTATION_CDI ? &injection->spec_error
                                                                      : NULL;
}
