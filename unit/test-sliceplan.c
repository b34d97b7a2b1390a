/* SPDX-License-Identifier: Apache-2.0 */
#include "sliceplan.h"

#include "base/memory.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>

#define SLICES_MAX 16

/* A pool at the API server, and what is wanted of it. contents is a version number of the device
 * list. */
struct pool {
        struct sliceplan_slice slices[SLICES_MAX];
        int contents[SLICES_MAX];
        size_t n;
        unsigned n_wanted;
        int wanted; /* version */
};

static void refresh(struct pool *pool)
{
        for (size_t i = 0; i < pool->n; ++i)
                pool->slices[i].has_wanted_contents = pool->contents[i] == pool->wanted;
}

static struct sliceplan_step plan(struct pool *pool)
{
        refresh(pool);
        return sliceplan_next(pool->slices, pool->n, pool->n_wanted);
}

static void apply(struct pool *pool, const struct sliceplan_step *step)
{
        size_t at = step->observed;

        switch (step->verb) {
        case SLICEPLAN_DELETE:
                --pool->n;
                memmove(&pool->slices[at], &pool->slices[at + 1],
                        (pool->n - at) * sizeof(pool->slices[0]));
                memmove(&pool->contents[at], &pool->contents[at + 1], (pool->n - at) * sizeof(int));
                return;
        case SLICEPLAN_CREATE:
                at = pool->n++;
                break;
        case SLICEPLAN_UPDATE:
                break;
        case SLICEPLAN_NOTHING:
                return;
        }
        pool->slices[at] = (struct sliceplan_slice){ .index = step->index,
                                                     .generation = step->generation,
                                                     .count = pool->n_wanted };
        pool->contents[at] = pool->wanted;
}

/* Steps until nothing is left to do. */
static unsigned settle(struct pool *pool)
{
        unsigned n = 0;

        for (struct sliceplan_step step = plan(pool); step.verb != SLICEPLAN_NOTHING;
             step = plan(pool)) {
                apply(pool, &step);
                ck_assert_uint_lt(++n, 100);
        }
        return n;
}

/* What the scheduler sees: the highest generation is complete. */
static bool is_complete(const struct pool *pool)
{
        int64_t highest = 0;
        size_t n = 0;

        for (size_t i = 0; i < pool->n; ++i)
                if (pool->slices[i].generation > highest)
                        highest = pool->slices[i].generation;
        for (size_t i = 0; i < pool->n; ++i)
                n += pool->slices[i].generation == highest;
        for (size_t i = 0; i < pool->n; ++i)
                if (pool->slices[i].generation == highest)
                        return (int64_t)n == pool->slices[i].count;
        return false;
}

static int64_t generation_of(const struct pool *pool)
{
        return pool->slices[0].generation;
}

START_TEST(an_empty_pool_is_created_at_generation_one)
{
        struct pool pool = { .n_wanted = 3, .wanted = 1 };

        ck_assert_uint_eq(settle(&pool), 3);
        ck_assert_uint_eq(pool.n, 3);
        ck_assert_int_eq(generation_of(&pool), 1);
        ck_assert(is_complete(&pool));
}
END_TEST

START_TEST(a_change_of_one_slice_keeps_the_generation)
{
        struct pool pool = { .n_wanted = 3, .wanted = 1 };

        settle(&pool);
        pool.contents[1] = 7; /* somebody has edited it */
        ck_assert_uint_eq(settle(&pool), 1);
        ck_assert_int_eq(generation_of(&pool), 1);
}
END_TEST

START_TEST(a_change_of_several_slices_writes_all_at_the_next_generation)
{
        struct pool pool = { .n_wanted = 3, .wanted = 1 };

        settle(&pool);
        pool.wanted = 2;
        ck_assert_uint_eq(settle(&pool), 3);
        ck_assert_int_eq(generation_of(&pool), 2);
}
END_TEST

START_TEST(growing_and_shrinking_bump_the_generation_and_rewrite_the_count)
{
        struct pool pool = { .n_wanted = 1, .wanted = 1 };

        settle(&pool);
        pool.n_wanted = 3;
        ck_assert_uint_eq(settle(&pool), 3);
        ck_assert_int_eq(generation_of(&pool), 2);
        pool.n_wanted = 1;
        ck_assert_uint_eq(settle(&pool), 3); /* two deletions, one update */
        ck_assert_int_eq(generation_of(&pool), 3);
        ck_assert_uint_eq(pool.n, 1);
}
END_TEST

START_TEST(a_deleted_slice_comes_back_at_the_same_generation)
{
        struct pool pool = { .n_wanted = 4, .wanted = 1 };
        struct sliceplan_step wipe = { .verb = SLICEPLAN_DELETE, .observed = 2 };

        settle(&pool);
        apply(&pool, &wipe);
        ck_assert_uint_eq(settle(&pool), 1);
        ck_assert_int_eq(generation_of(&pool), 1);
}
END_TEST

START_TEST(slices_of_other_names_go_first)
{
        struct pool pool = { .n_wanted = 1, .wanted = 1 };
        struct sliceplan_step step;

        pool.slices[0] = (struct sliceplan_slice){ .index = 9, .generation = 5, .count = 1 };
        pool.n = 1;
        step = plan(&pool);
        ck_assert_int_eq(step.verb, SLICEPLAN_DELETE);
        settle(&pool);
        ck_assert(is_complete(&pool));
}
END_TEST

/* Whatever the state, whoever interferes, and wherever we are killed: it ends as wanted, and no
 * state on the way that the scheduler would take for a complete pool mixes versions, unless
 * somebody else's write made it so. */
START_TEST(any_state_settles_and_no_complete_pool_is_mixed)
{
        for (unsigned seed = 0; seed < 20000; ++seed) {
                struct pool pool = { .wanted = 1 };
                unsigned n_steps = 0;

                srandom(seed);
                pool.n_wanted = 1 + (unsigned)random() % 5;
                settle(&pool);
                for (int change = 0; change < 6; ++change) {
                        unsigned n_interrupted = (unsigned)random() % 8;

                        pool.wanted += (int)(random() % 2);
                        pool.n_wanted = 1 + (unsigned)random() % 5;
                        if (random() % 4 == 0 && pool.n) {
                                struct sliceplan_step wipe = { .verb = SLICEPLAN_DELETE,
                                                               .observed =
                                                                       (size_t)random() % pool.n };

                                apply(&pool, &wipe);
                        }
                        for (unsigned i = 0; i < n_interrupted; ++i) {
                                bool was_complete = is_complete(&pool);
                                struct sliceplan_step step = plan(&pool);

                                apply(&pool, &step);
                                refresh(&pool);
                                if (!was_complete && is_complete(&pool) &&
                                    step.verb != SLICEPLAN_NOTHING)
                                        for (size_t j = 0; j < pool.n; ++j)
                                                ck_assert_msg(
                                                        pool.slices[j].has_wanted_contents ||
                                                                pool.slices[j].generation !=
                                                                        step.generation,
                                                        "seed %u: a mixed pool became complete",
                                                        seed);
                        }
                }
                n_steps = settle(&pool);
                ck_assert_uint_le(n_steps, 16);
                ck_assert_uint_eq(pool.n, pool.n_wanted);
                ck_assert(is_complete(&pool));
                for (size_t i = 0; i < pool.n; ++i)
                        ck_assert_int_eq(pool.contents[i], pool.wanted);
        }
}
END_TEST

SUITE("sliceplan", an_empty_pool_is_created_at_generation_one,
      a_change_of_one_slice_keeps_the_generation,
      a_change_of_several_slices_writes_all_at_the_next_generation,
      growing_and_shrinking_bump_the_generation_and_rewrite_the_count,
      a_deleted_slice_comes_back_at_the_same_generation, slices_of_other_names_go_first,
      any_state_settles_and_no_complete_pool_is_mixed);
