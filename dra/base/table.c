/* SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#include "base/memory.h"

#include <string.h>

/* FNV-1a, 64 bit. The keys are UIDs that the API server generates, so no attacker can choose
 * collisions. */
uint64_t table_hash(const char *key)
{
        uint64_t hash = 0xcbf29ce484222325U;

        for (; *key; ++key)
                hash = (hash ^ (unsigned char)*key) * 0x100000001b3U;
        return hash;
}

static struct table_node **bucket_of(const struct table *table, uint64_t hash)
{
        return &table->buckets[hash & (table->n_buckets - 1)];
}

static void link_node(struct table *table, struct table_node *node)
{
        struct table_node **bucket = bucket_of(table, node->hash);

        node->next = *bucket;
        *bucket = node;
}

static void grow(struct table *table)
{
        struct table_node **old = table->buckets;
        size_t n_old = table->n_buckets;

        table->n_buckets = n_old ? n_old * 2 : 16;
        table->buckets = xcalloc(table->n_buckets, sizeof(*table->buckets));
        for (size_t i = 0; i < n_old; ++i)
                for (struct table_node *node = old[i], *following; node; node = following) {
                        following = node->next;
                        link_node(table, node);
                }
        free(old);
}

void table_deinit(struct table *table)
{
        free(table->buckets);
        *table = (struct table)TABLE_NULL;
}

struct table_node *table_find(const struct table *table, const char *key)
{
        uint64_t hash = table_hash(key);

        if (!table->n_buckets)
                return NULL;
        for (struct table_node *node = *bucket_of(table, hash); node; node = node->next)
                if (node->hash == hash && strcmp(node->key, key) == 0)
                        return node;
        return NULL;
}

void table_insert(struct table *table, struct table_node *node, const char *key)
{
        if (table->n_nodes >= table->n_buckets)
                grow(table);
        node->key = key;
        node->hash = table_hash(key);
        link_node(table, node);
        ++table->n_nodes;
}

void table_remove(struct table *table, struct table_node *node)
{
        struct table_node **link = bucket_of(table, node->hash);

        while (*link != node)
                link = &(*link)->next;
        *link = node->next;
        node->next = NULL;
        --table->n_nodes;
}

struct table_node *table_next(const struct table *table, const struct table_node *previous)
{
        size_t i = 0;

        if (!table->n_buckets)
                return NULL;
        if (previous) {
                if (previous->next)
                        return previous->next;
                i = (previous->hash & (table->n_buckets - 1)) + 1;
        }
        for (; i < table->n_buckets; ++i)
                if (table->buckets[i])
                        return table->buckets[i];
        return NULL;
}
