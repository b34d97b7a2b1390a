/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IDs of the plugin devices that were in use when they were written down last: a file in the
 * state directory, for the case that kubelet, which has the truth, cannot be asked after a restart.
 *
 * Each line is a JSON array of IDs, and the file holds what its lines hold together: written whole
 * when something has gone, and otherwise made longer by a line, since Allocate is waited for by pod
 * admission. It outlives a kill, not a loss of power, after which no pod runs either.
 */
#pragma once

#include <stddef.h>

struct error;
struct plugin_record;

/* state_dir is copied. Nothing is read or written yet. */
struct plugin_record *plugin_record_new(const char *state_dir);
void plugin_record_free(struct plugin_record *record);

/* Replace what is on disk by n IDs: 0, or -errno with the reason in err, and it is as it was. */
int plugin_record_write(struct plugin_record *record, const char *const *ids, size_t n,
                        struct error *err);

/* Add n IDs to what is on disk: 0; -ESTALE: there is no whole record to add to, write it anew;
 * or another -errno. After any failure it is to be written anew. */
int plugin_record_append(struct plugin_record *record, const char *const *ids, size_t n,
                         struct error *err);

/* Call on_id, where it is not NULL, for each ID on disk (borrowed for the call, duplicates
 * included) and return how many they were. A damaged line is logged and passed over; a missing file
 * is an empty one. */
size_t plugin_record_read(const char *state_dir, void (*on_id)(void *owner, const char *id),
                          void *owner);
