/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/sliceplan.h"

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
        pool.contents[1] = 7; /* another client has edited it */
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

START_TEST(a_generation_that_leaves_none_above_it_makes_way)
{
        struct pool pool = { .n_wanted = 2, .wanted = 1 };

        for (unsigned i = 0; i < 2; ++i)
                pool.slices[i] = (struct sliceplan_slice){ .index = i,
                                                           .generation = INT64_C(1) << 53,
                                                           .count = 2 };
        pool.n = 2;

        ck_assert_uint_eq(settle(&pool), 4);
        ck_assert_int_eq(generation_of(&pool), 1);
        ck_assert(is_complete(&pool));
}
END_TEST

/* ---- from any state that a driver may have left, not only from ours ---- */

/* Whatever wrote it, the slices of the highest generation agree on their count and are not more;
 * those below were left incomplete when it began. */
static struct pool random_pool(void)
{
        struct pool pool = { .n_wanted = 1 + (unsigned)random() % 5, .wanted = 1 };
        int64_t count = 1 + random() % 5;
        unsigned n_highest = 0;

        for (unsigned index = 0; index < 8; ++index) {
                bool is_highest = random() % 2 && n_highest < (unsigned)count;

                if (random() % 3 == 0)
                        continue;
                n_highest += is_highest;
                pool.contents[pool.n] = (int)(random() % 2);
                pool.slices[pool.n++] = (struct sliceplan_slice){
                        .index = index,
                        .generation = is_highest ? 9 : random() % 9,
                        .count = is_highest ? count : 20,
                };
        }
        if (pool.n && !n_highest) {
                pool.slices[0].generation = 9;
                pool.slices[0].count = count;
        }
        return pool;
}

static bool is_as_wanted(const struct pool *pool, size_t at)
{
        return pool->slices[at].index < pool->n_wanted && pool->contents[at] == pool->wanted &&
               pool->slices[at].count == (int64_t)pool->n_wanted;
}

static int64_t highest_of(const struct pool *pool)
{
        int64_t highest = 0;

        for (size_t i = 0; i < pool->n; ++i)
                if (pool->slices[i].generation > highest)
                        highest = pool->slices[i].generation;
        return highest;
}

/* All slices of the highest generation are as wanted. */
static bool shows_what_is_wanted(const struct pool *pool)
{
        for (size_t i = 0; i < pool->n; ++i)
                if (pool->slices[i].generation == highest_of(pool) && !is_as_wanted(pool, i))
                        return false;
        return true;
}

/* The write changes what the scheduler sees. */
static bool is_visible(const struct pool *pool, const struct sliceplan_step *step)
{
        return (step->verb != SLICEPLAN_DELETE && step->generation >= highest_of(pool)) ||
               (step->verb != SLICEPLAN_CREATE &&
                pool->slices[step->observed].generation == highest_of(pool));
}

START_TEST(no_write_completes_a_pool_of_other_devices_than_wanted)
{
        for (unsigned seed = 0; seed < 50000; ++seed) {
                struct pool pool;
                struct sliceplan_step step;
                unsigned n_steps = 0;

                srandom(seed);
                pool = random_pool();
                for (step = plan(&pool); step.verb != SLICEPLAN_NOTHING; step = plan(&pool)) {
                        bool is_seen = is_visible(&pool, &step);

                        apply(&pool, &step);
                        ck_assert_msg(!is_seen || !is_complete(&pool) ||
                                              shows_what_is_wanted(&pool),
                                      "seed %u, step %u", seed, n_steps);
                        ck_assert_uint_lt(++n_steps, 16);
                }

                ck_assert_uint_eq(pool.n, pool.n_wanted);
                ck_assert(is_complete(&pool) && shows_what_is_wanted(&pool));
        }
}
END_TEST

SUITE("sliceplan", an_empty_pool_is_created_at_generation_one,
      a_change_of_one_slice_keeps_the_generation,
      a_change_of_several_slices_writes_all_at_the_next_generation,
      growing_and_shrinking_bump_the_generation_and_rewrite_the_count,
      a_deleted_slice_comes_back_at_the_same_generation, slices_of_other_names_go_first,
      any_state_settles_and_no_complete_pool_is_mixed,
      a_generation_that_leaves_none_above_it_makes_way,
      no_write_completes_a_pool_of_other_devices_than_wanted);
