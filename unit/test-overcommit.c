/* SPDX-License-Identifier: Apache-2.0 */
#include "overcommit.h"

#include "base/memory.h"
#include "unit/suite.h"

#include <string.h>

static struct overcommit overcommit;
static char *text;

static int look(unsigned total, unsigned n_claims, unsigned n_pods)
{
        const struct overcommit_facts facts = { total, n_claims, n_pods };

        free(text);
        text = NULL;
        return overcommit_look(&overcommit, &facts, &text);
}

START_TEST(as_many_held_as_there_are_is_nothing_to_tell)
{
        ck_assert_int_eq(look(4, 0, 0), 0);
        ck_assert_int_eq(look(4, 2, 2), 0);
        ck_assert_int_eq(look(0, 0, 0), 0);
        ck_assert_ptr_null(text);
}
END_TEST

START_TEST(more_held_than_there_are_is_told_with_the_numbers_and_again_only_if_it_gets_worse)
{
        ck_assert_int_eq(look(4, 2, 3), OVERCOMMIT_WORSE);
        ck_assert_ptr_nonnull(strstr(text, "5 TDs are held (2 by claims, 3 by"));
        ck_assert_ptr_nonnull(strstr(text, "this node has 4"));
        ck_assert_ptr_nonnull(strstr(text, "Delete 1 of the pods"));
        ck_assert_int_eq(look(4, 2, 3), 0);
        ck_assert_int_eq(look(4, 3, 2), 0);
        ck_assert_int_eq(look(4, 3, 3), OVERCOMMIT_WORSE);
        ck_assert_int_eq(look(4, 2, 3), 0);
        ck_assert_int_eq(look(3, 2, 3), OVERCOMMIT_WORSE);
        ck_assert_int_eq(look(3, 1, 2), OVERCOMMIT_OVER);
        ck_assert_ptr_nonnull(strstr(text, "3 of 3 TDs"));
        ck_assert_int_eq(look(3, 1, 2), 0);
        ck_assert_int_eq(look(3, 1, 3), OVERCOMMIT_WORSE);
        ck_assert_int_eq(look(0, 0, 0), OVERCOMMIT_OVER);
        ck_assert_int_eq(look(0, 1, 0), OVERCOMMIT_WORSE);
        ck_assert_ptr_nonnull(strstr(text, "1 TD is held (1 by claims, 0 by"));
        free(text);
}
END_TEST

SUITE("overcommit", as_many_held_as_there_are_is_nothing_to_tell,
      more_held_than_there_are_is_told_with_the_numbers_and_again_only_if_it_gets_worse);
