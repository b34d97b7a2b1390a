/* SPDX-License-Identifier: Apache-2.0 */
#include "capacity.h"

#include "base/log.h"
#include "base/memory.h"
#include "config.h"
#include "device.h"
#include "host/misc.h"

#include <stdio.h>
#include <string.h>

void capacity_init(struct capacity *total, const struct config *config)
{
        *total = (struct capacity){ .config = config, .kvm_file = KVM_TDX_FILE };
}

/* ---- one reading ---- */

static void explain_none(const struct config *config, struct capacity_sight *sight)
{
        char *reason = sight->reason;
        size_t n = sizeof(sight->reason);

        if (sight->outcome == MISC_NO_TDX)
                snprintf(reason, n, "%.160s has no tdx line: %s", sight->source,
                         kvm_tdx_remedy(sight->kvm));
        else if (sight->outcome == MISC_NO_FILE)
                snprintf(reason, n,
                         "there is no misc.capacity below %.128s: mount the host's /sys/fs/cgroup "
                         "and set --cgroup-root to it, name the file with --misc-capacity, or give "
                         "--capacity N",
                         config->cgroup_root);
        else if (!sight->n_host)
                snprintf(reason, n, "%.128s says that this host can run 0 TDs", sight->source);
        else
                snprintf(reason, n, "--reserve %u leaves none of the %llu TDs of this host",
                         config->reserve, (unsigned long long)sight->n_host);
}

void capacity_look(const struct config *config, const char *kvm_file, struct capacity_sight *ret)
{
        struct error error = ERROR_NULL;
        uint64_t n_host = 0;

        *ret = (struct capacity_sight){ 0 };
        if (config->capacity >= 0) {
                n_host = (uint64_t)config->capacity;
                snprintf(ret->source, sizeof(ret->source), "--capacity");
        } else {
                ret->outcome = misc_read(config->misc_capacity, config->cgroup_root, &n_host,
                                         ret->source, &error);
        }
        if (ret->outcome < 0) {
                snprintf(ret->reason, sizeof(ret->reason), "%s", error.text);
                return;
        }
        if (ret->outcome == MISC_NO_TDX)
                ret->kvm = kvm_tdx_read(kvm_file);
        ret->n_host = n_host;
        if (n_host > DEVICE_INDEX_MAX)
                n_host = DEVICE_INDEX_MAX;
        if (n_host > config->reserve)
                ret->n_offered = (unsigned)n_host - config->reserve;
        if (!ret->n_offered)
                explain_none(config, ret);
}

/* ---- repeated readings ---- */

/* Whether there is a reason, and a different one was logged last. */
static bool is_news(struct capacity *total, const char *reason)
{
        if (strcmp(total->reason, reason) == 0)
                return false;
        snprintf(total->reason, sizeof(total->reason), "%s", reason);
        return *reason;
}

static void log_sight(struct capacity *total, const struct capacity_sight *sight)
{
        if (!is_news(total, sight->reason))
                return;
        if (sight->outcome < 0)
                log_error("cannot read the TDX capacity, keeping the last known value",
                          log_str("reason", sight->reason));
        else
                log_warn("this host offers no TDs", log_str("file", sight->source),
                         log_str("reason", sight->reason));
}

bool capacity_read(struct capacity *total)
{
        struct capacity_sight sight;

        capacity_look(total->config, total->kvm_file, &sight);
        log_sight(total, &sight);
        if (sight.outcome >= 0)
                total->n_host = sight.n_host;
        if (sight.outcome < 0 || (total->is_known && sight.n_offered == total->tds))
                return false;
        if (sight.n_host > DEVICE_INDEX_MAX)
                log_warn("this host has more TDs than the driver can offer, ignoring the rest",
                         log_int("offered", DEVICE_INDEX_MAX));
        log_info("capacity", log_int("tds", sight.n_offered),
                 log_int("capacity", (int64_t)sight.n_host),
                 log_int("reserve", total->config->reserve), log_str("source", sight.source));
        total->is_known = true;
        total->tds = sight.n_offered;
        return true;
}
