/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a VM's container is given what it needs: the CDI spec, with a device for each TD, and the
 * directory of QGS's socket, which is mounted.
 *
 * Either can fail (a full disk, a file in the directory's place). No VM may be placed while its
 * container could not be created: its pod would hang in ContainerCreating.
 */
#pragma once

#include "attestation_facts.h"

#include <stdbool.h>

struct cdi_store;
struct config;
struct error;
struct injection;

struct injection_options {
        const struct config *config;                 /* borrowed */
        const struct attestation_facts *attestation; /* in force; read at each call */
        /* Whether VMs can be given their devices has changed. Also from inside the calls below. */
        void (*on_changed)(void *owner);
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

struct injection *injection_new(const struct injection_options *options);
void injection_free(struct injection *injection); /* NULL is fine */

struct cdi_store *injection_store(struct injection *injection);

/* Write the spec for devices with indexes below n; is_for_plugin: with those of the device plugin,
 * too. A spec that was set once for the plugin keeps its devices. */
void injection_set(struct injection *injection, unsigned n, bool is_for_plugin);
/* n of the spec that was set last. */
unsigned injection_n_devices(const struct injection *injection);
bool injection_has_plugin_devices(const struct injection *injection);

/* Restore the spec if it was changed or removed, and create the directory if it is missing. */
void injection_verify(struct injection *injection);
/* Find another CDI spec that names our devices; tells it once. Reads every spec there is. */
void injection_look_for_conflict(struct injection *injection);

/* The node's container runtime, by its Node object ("containerd://1.7.13"); copied. NULL: not
 * known. One that cannot read the spec is told once. */
void injection_set_runtime(struct injection *injection, const char *version);

/* The spec could not be written when that was last tried. */
bool injection_lacks_spec(const struct injection *injection);
/* Why a VM that is placed here could not start, attested or not; NULL: it can. The device plugin
 * with plain mounts does not need the spec. Borrowed until the next call. */
const struct error *injection_obstacle(const struct injection *injection,
                                       enum attestation_means means);
