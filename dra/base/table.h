/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of objects by string, intrusive: the object embeds a table_node and owns the key. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct table_node {
        struct table_node *next;
        const char *key; /* borrowed from the object, unchanged while it is in the table */
        uint64_t hash;
};

struct table {
        struct table_node **buckets;
        size_t n_buckets;
        size_t n_nodes;
};

#define TABLE_NULL \
        {          \
                0  \
        }

void table_deinit(struct table *table); /* frees the buckets; the objects are their owner's */

uint64_t table_hash(const char *key); /* FNV-1a: not for keys that an attacker chooses */

struct table_node *table_find(const struct table *table, const char *key); /* NULL: not there */
void table_insert(struct table *table, struct table_node *node,
                  const char *key);                              /* the key is not there yet */
void table_remove(struct table *table, struct table_node *node); /* the node is there */

/* Every node once, in no order; the table must not change in between. NULL ends. */
struct table_node *table_next(const struct table *table, const struct table_node *previous);
