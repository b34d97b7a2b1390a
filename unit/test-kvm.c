/* SPDX-License-Identifier: Apache-2.0 */
#include "host/kvm.h"

#include "base/memory.h"
#include "unit/file-rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

START_TEST(the_parameter_says_whether_kvm_runs_tds)
{
        static const struct {
                const char *text;
                enum kvm_tdx tdx;
        } cases[] = {
                { "Y\n", KVM_TDX_ON },
                { "Y", KVM_TDX_ON },
                { "N\n", KVM_TDX_OFF },
                { "N", KVM_TDX_OFF },
                { "", KVM_TDX_UNKNOWN },
                { "\n", KVM_TDX_UNKNOWN },
                { "1", KVM_TDX_UNKNOWN },
                { "yes", KVM_TDX_UNKNOWN },
                { "NY\n", KVM_TDX_UNKNOWN },
                { "a line that is longer than a bool's", KVM_TDX_UNKNOWN },
        };

        enter();
        for (size_t i = 0; i < array_size(cases); ++i) {
                say(cases[i].text);
                ck_assert_msg(kvm_tdx_read(file) == cases[i].tdx, "\"%s\"", cases[i].text);
        }
        leave();
}
END_TEST

START_TEST(a_module_that_is_not_loaded_is_not_one_that_is_off)
{
        enter();

        ck_assert_int_eq(kvm_tdx_read(file), KVM_TDX_ABSENT);
        ck_assert_int_eq(kvm_tdx_read("/dev/null/tdx"), KVM_TDX_ABSENT);

        ck_assert_int_eq(mkdir(file, 0700), 0);
        ck_assert_int_eq(kvm_tdx_read(file), KVM_TDX_UNKNOWN);
        leave();
}
END_TEST

START_TEST(each_answer_has_a_remedy_of_its_own)
{
        static const enum kvm_tdx all[] = { KVM_TDX_UNKNOWN, KVM_TDX_ABSENT, KVM_TDX_OFF,
                                            KVM_TDX_ON };

        for (size_t i = 0; i < array_size(all); ++i)
                for (size_t j = 0; j < i; ++j)
                        ck_assert_str_ne(kvm_tdx_remedy(all[i]), kvm_tdx_remedy(all[j]));
        ck_assert_ptr_nonnull(strstr(kvm_tdx_remedy(KVM_TDX_ON), "--capacity"));
        ck_assert_ptr_null(strstr(kvm_tdx_remedy(KVM_TDX_ON), "tdx=1"));
        ck_assert_ptr_nonnull(strstr(kvm_tdx_remedy(KVM_TDX_OFF), "dmesg"));
        ck_assert_ptr_nonnull(strstr(kvm_tdx_remedy(KVM_TDX_ABSENT), "tdx=1"));
}
END_TEST

SUITE("kvm", the_parameter_says_whether_kvm_runs_tds,
      a_module_that_is_not_loaded_is_not_one_that_is_off, each_answer_has_a_remedy_of_its_own);
