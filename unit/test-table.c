/* SPDX-License-Identifier: Apache-2.0 */
#include "base/list.h"
#include "base/memory.h"
#include "base/table.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>

struct item {
        struct table_node node;
        char key[16];
        bool was_seen;
};

START_TEST(a_table_finds_what_is_in_it_and_nothing_else)
{
        struct item *items = xcalloc(5000, sizeof(*items));
        struct table table = TABLE_NULL;
        size_t n = 0;

        for (unsigned i = 0; i < 5000; ++i) {
                snprintf(items[i].key, sizeof(items[i].key), "%u", i * 7919);
                table_insert(&table, &items[i].node, items[i].key);
        }
        for (unsigned i = 0; i < 5000; i += 2)
                table_remove(&table, &items[i].node);

        for (unsigned i = 0; i < 5000; ++i)
                ck_assert_ptr_eq(table_find(&table, items[i].key), i % 2 ? &items[i].node : NULL);
        for (struct table_node *node = table_next(&table, NULL); node;
             node = table_next(&table, node)) {
                struct item *item = container_of(node, struct item, node);

                ck_assert(!item->was_seen);
                item->was_seen = true;
                ++n;
        }
        ck_assert_uint_eq(n, 2500);
        ck_assert_uint_eq(table.n_nodes, 2500);
        table_deinit(&table);
        free(items);
}
END_TEST

START_TEST(an_empty_table_has_nothing)
{
        struct table table = TABLE_NULL;

        ck_assert_ptr_null(table_find(&table, "x"));
        ck_assert_ptr_null(table_next(&table, NULL));
        table_deinit(&table);
}
END_TEST

START_TEST(a_list_keeps_order_through_splices)
{
        struct list head, other, members[4], *position, *following;
        int n = 0;

        list_init(&head);
        list_init(&other);
        for (int i = 0; i < 4; ++i)
                list_add_tail(i < 2 ? &head : &other, &members[i]);
        list_splice_tail(&head, &other);

        ck_assert(list_is_empty(&other));
        list_for_each_safe (position, following, &head) {
                ck_assert_ptr_eq(position, &members[n++]);
                list_unlink(position);
                list_unlink(position);
        }
        ck_assert_int_eq(n, 4);
        ck_assert(list_is_empty(&head));
}
END_TEST

SUITE("table", a_table_finds_what_is_in_it_and_nothing_else, an_empty_table_has_nothing,
      a_list_keeps_order_through_splices);
