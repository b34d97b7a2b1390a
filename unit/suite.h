/* SPDX-License-Identifier: Apache-2.0 */
/* A test program: main() of one suite. Check forks each test, so that a crash is one failure and a
 * leak is its test's. */
#pragma once

#include <check.h>
#include <stdlib.h>

/* SUITE("parse", a_test, another_test) */
#define SUITE(name, ...)                                                         \
        int main(void)                                                           \
        {                                                                        \
                const TTest *const tests[] = { __VA_ARGS__ };                    \
                                                                                 \
                return suite_run(name, tests, sizeof(tests) / sizeof(tests[0])); \
        }                                                                        \
        _Static_assert(1, "takes the semicolon")

static inline int suite_run(const char *name, const TTest *const *tests, size_t n)
{
        Suite *suite = suite_create(name);
        SRunner *runner = srunner_create(suite);
        int n_failed;

        for (size_t i = 0; i < n; ++i) {
                TCase *tcase = tcase_create(name);

                tcase_set_timeout(tcase, 20);
                tcase_add_test(tcase, tests[i]);
                suite_add_tcase(suite, tcase);
        }
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
