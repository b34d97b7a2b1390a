/* SPDX-License-Identifier: Apache-2.0 */
#include "host/kvm.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FILE_MAX 16

enum kvm_tdx kvm_tdx_read(const char *file)
{
        _cleanup_(free) char *bytes = NULL;
        size_t n;
        int r;

        r = file_read(AT_FDCWD, file, FILE_MAX, &bytes, &n, NULL);
        if (r == -ENOENT || r == -ENOTDIR)
                return KVM_TDX_ABSENT;
        if (r < 0)
                return KVM_TDX_UNKNOWN;
        if (strcmp(bytes, "Y\n") == 0 || strcmp(bytes, "Y") == 0)
                return KVM_TDX_ON;
        if (strcmp(bytes, "N\n") == 0 || strcmp(bytes, "N") == 0)
                return KVM_TDX_OFF;
        return KVM_TDX_UNKNOWN;
}

/* "On, but not counted" is Ubuntu 24.04's 6.8 kernel (canonical/tdx issue 189); "off, though asked
 * for" is a failed initialisation (canonical/tdx issues 415 and 331), of which only dmesg has the
 * cause. */
const char *kvm_tdx_remedy(enum kvm_tdx tdx)
{
        switch (tdx) {
        case KVM_TDX_ON:
                return "kvm_intel runs TDs (its parameter tdx is Y), but this kernel does not "
                       "count TDs: give --capacity N, with N the number of private KeyIDs in dmesg "
                       "(virt/tdx: private KeyID range), less one";
        case KVM_TDX_OFF:
                return "kvm_intel's parameter tdx is N: it was loaded without tdx=1, or TDX did "
                       "not start; look for virt/tdx and kvm_intel in dmesg";
        case KVM_TDX_ABSENT:
                return "kvm_intel is not loaded, or does not know TDX: load kvm_intel with tdx=1 "
                       "on a kernel with TDX (Linux 6.16)";
        case KVM_TDX_UNKNOWN:
        default:
                return "load kvm_intel with tdx=1 and look for virt/tdx in dmesg, or give "
                       "--capacity N";
        }
}
