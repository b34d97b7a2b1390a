/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether KVM runs TDs, as the kernel's own module says: the parameter tdx of kvm_intel (a bool,
 * 0444; arch/x86/kvm/vmx/tdx.c). KVM sets it back to N when the TDX module cannot be initialised.
 * It explains a misc.capacity without a tdx line, which alone does not tell an old kernel from a
 * module that is not loaded.
 */
#pragma once

/* sysfs shows it in every container, too. */
#define KVM_TDX_FILE "/sys/module/kvm_intel/parameters/tdx"

enum kvm_tdx {
        KVM_TDX_UNKNOWN, /* the file cannot be read, or says something else */
        KVM_TDX_ABSENT,  /* kvm_intel is not loaded, or was built without TDX */
        KVM_TDX_OFF,
        KVM_TDX_ON
};

enum kvm_tdx kvm_tdx_read(const char *file);

/* What to do about a misc.capacity that does not count TDs: a clause for a person, static. */
const char *kvm_tdx_remedy(enum kvm_tdx tdx);
