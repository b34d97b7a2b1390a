/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubelet as the host shows it: where its sockets are, whether it runs, and since when.
 *
 * kubelet recreates two sockets at each start: podresources' at once, and its device manager's once
 * the container runtime is up. Both files outlive it. Everything lies below --root-dir except
 * device-plugins/, whose path is a constant (k8s.io/kubelet deviceplugin/v1beta1 constants.go).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct kubelet;
struct socket_identity;

#define KUBELET_DIRECTORY               "/var/lib/kubelet"
#define KUBELET_DEVICE_PLUGIN_DIRECTORY KUBELET_DIRECTORY "/device-plugins"

/* Paths are copied. Reads nothing yet. */
struct kubelet *kubelet_new(const char *directory, const char *device_plugin_directory);
void kubelet_free(struct kubelet *kubelet); /* NULL is fine */

/* Borrowed. */
const char *kubelet_device_plugin_directory(const struct kubelet *kubelet);
const char *kubelet_device_manager_socket(const struct kubelet *kubelet);
const char *kubelet_podresources_directory(const struct kubelet *kubelet);
const char *kubelet_podresources_socket(const struct kubelet *kubelet);

/* Away: no process listens on the podresources socket. */
bool kubelet_is_away(const struct kubelet *kubelet);
/* Which kubelet runs, by its podresources socket; false: it is away. */
bool kubelet_identify(const struct kubelet *kubelet, struct socket_identity *ret);
/* Whether this kubelet, or one before it, has had a device manager. */
bool kubelet_has_device_manager(const struct kubelet *kubelet);
/* How long ago kubelet started, by the younger of its sockets; 0: it is away. now_ms is of a
 * monotonic clock. */
uint64_t kubelet_age_ms(struct kubelet *kubelet, uint64_t now_ms);
