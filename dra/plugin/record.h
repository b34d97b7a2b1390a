/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin devices in use and the pods that have them, on disk: a file in the state directory.
 * After a restart kubelet may not be there to ask, or may have forgotten a pod whose containers run
 * on (its checkpoint was deleted, the pod was deleted by force).
 *
 * Version 2. Each line is a JSON array, and the file's content is the union of its lines. New
 * devices append a line, because pod admission waits for Allocate; a release rewrites the file. A
 * line begins with {"version":2}; each ID, a string, may be followed by an object with its pod's
 * UID and cgroup:
 *
 *         [{"version":2},"tdx3",{"pod":"8d3c...","cgroup":"/sys/fs/cgroup/kubepods/pod8d3c..."},"tdx1"]
 *
 * Version 1 has only the strings, and its readers skip objects, so both versions read each other's
 * IDs. A line of a later version is read for its IDs. The file survives a kill but not a loss of
 * power, after which no pod runs either.
 */
#pragma once

#include <stddef.h>

struct error;
struct plugin_holder;
struct plugin_record;

/* state_dir is copied. Nothing is read or written yet. */
struct plugin_record *plugin_record_new(const char *state_dir);
void plugin_record_free(struct plugin_record *record);

/* Replace the record by n devices: 0, or -errno with the reason in err and the old record intact.
 */
int plugin_record_write(struct plugin_record *record, const struct plugin_holder *holders, size_t n,
                        struct error *err);

/* Add n devices to the record: 0; -ESTALE: there is no complete record to add to; or another
 * -errno. After any failure call plugin_record_write(). */
int plugin_record_append(struct plugin_record *record, const struct plugin_holder *holders,
                         size_t n, struct error *err);

/* Call on_holder, if it is not NULL, for each device on disk in the order in which they were
 * written (borrowed for the call, duplicates included) and return their number. A damaged line is
 * logged and skipped; a missing file counts as empty. */
size_t plugin_record_read(const char *state_dir,
                          void (*on_holder)(void *owner, const struct plugin_holder *holder),
                          void *owner);

/* The same for the bytes of such a file: pure. err is set, with the reason, if a line is damaged.
 */
size_t plugin_record_parse(const char *bytes, size_t n,
                           void (*on_holder)(void *owner, const struct plugin_holder *holder),
                           void *owner, struct error *err);
