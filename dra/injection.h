/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM's container gets: the CDI spec with a device for each TD, and the directory of QGS's
 * socket, which is mounted.
 *
 * Either can fail (a full disk, a file in the directory's place). While its container could not be
 * created, no VM may be placed here: its pod would hang in ContainerCreating.
 */
#pragma once

#include "attestation_facts.h"

#include <stdbool.h>

struct cdi_mount;
struct config;
struct error;
struct injection;

struct injection_options {
        const struct config *config;                 /* borrowed */
        const struct attestation_facts *attestation; /* in force; read at each call */
        /* VMs can get their devices again, or no longer can. May be called from inside the
         * functions below. */
        void (*on_changed)(void *owner);
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

struct injection *injection_new(const struct injection_options *options);
void injection_free(struct injection *injection); /* NULL is fine */

/* What a TD's container mounts; borrows attestation's strings, except container_path, which is the
 * caller's. */
struct cdi_mount injection_mount(const struct attestation_facts *attestation);

/* Write the spec for devices with indexes below n. is_for_plugin: include the device plugin's. Once
 * included, the plugin's devices stay in every later spec. */
void injection_set(struct injection *injection, unsigned n, bool is_for_plugin);
/* n of the latest injection_set(). */
unsigned injection_n_devices(const struct injection *injection);
bool injection_has_plugin_devices(const struct injection *injection);

/* Restore the spec if it was changed or removed, and create the mounted directory if it is missing.
 */
void injection_verify(struct injection *injection);
/* Look for another CDI spec that names our devices, and report it once. Reads every spec. */
void injection_look_for_conflict(struct injection *injection);

/* The node's container runtime, from its Node object ("containerd://1.7.13"); copied. NULL: not
 * known. A runtime that cannot read the spec is reported once. */
void injection_set_runtime(struct injection *injection, const char *version);

/* The last attempt to write the spec failed. */
bool injection_lacks_spec(const struct injection *injection);
/* Why a VM placed here could not start, attested or not; NULL: it can. Without the spec the device
 * plugin still works with plain mounts. Borrowed until the next call. */
const struct error *injection_obstacle(const struct injection *injection,
                                       enum attestation_means means);
