/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin devices in use and the pods that have them, on disk: a file in the state directory.
 * After a restart kubelet may not be there to ask, or may have forgotten a pod whose containers run
 * on (its checkpoint was deleted, the pod was deleted by force).
 *
 * Version 2. Each line is a JSON array, and the file holds what its lines hold together: written
 * whole when something has gone, and otherwise made longer by a line, since pod admission waits for
 * Allocate. A line begins with {"version":2}; each ID, a string, may be followed by an object with
 * its pod's UID and cgroup:
 *
 *         [{"version":2},"tdx3",{"pod":"8d3c...","cgroup":"/sys/fs/cgroup/kubepods/pod8d3c..."},"tdx1"]
 *
 * Version 1 has the strings alone, and its readers pass objects over: both read each other's IDs. A
 * line of a later version is read for its IDs. The file outlives a kill, not a loss of power, after
 * which no pod runs either.
 */
#pragma once

#include <stddef.h>

struct error;
struct plugin_holder;
struct plugin_record;

/* state_dir is copied. Nothing is read or written yet. */
struct plugin_record *plugin_record_new(const char *state_dir);
void plugin_record_free(struct plugin_record *record);

/* Replace what is on disk by n devices: 0, or -errno with the reason in err, and it is as it was.
 */
int plugin_record_write(struct plugin_record *record, const struct plugin_holder *holders, size_t n,
                        struct error *err);

/* Add n devices to what is on disk: 0; -ESTALE: there is no whole record to add to, write it anew;
 * or another -errno. After any failure it is to be written anew. */
int plugin_record_append(struct plugin_record *record, const struct plugin_holder *holders,
                         size_t n, struct error *err);

/* Call on_holder, if it is not NULL, for each device on disk in the order in which they were
 * written (borrowed for the call, duplicates included) and return how many they were. A damaged
 * line is logged and passed over; a missing file is an empty one. */
size_t plugin_record_read(const char *state_dir,
                          void (*on_holder)(void *owner, const struct plugin_holder *holder),
                          void *owner);

/* The same for the bytes of such a file: pure. err is set, with the reason, if a line is damaged.
 */
size_t plugin_record_parse(const char *bytes, size_t n,
                           void (*on_holder)(void *owner, const struct plugin_holder *holder),
                           void *owner, struct error *err);
