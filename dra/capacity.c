/* SPDX-License-Identifier: Apache-2.0 */
#include "capacity.h"

#include "base/log.h"
#include "base/memory.h"
#include "config.h"
#include "device.h"
#include "host/misc.h"

#include <limits.h>
#include <string.h>

void capacity_init(struct capacity *total, const struct config *config)
{
        *total = (struct capacity){ .config = config, .outcome = INT_MIN };
}

static bool set(struct capacity *total, uint64_t capacity, const char *source)
{
        unsigned reserve = total->config->reserve, tds;

        if (capacity > DEVICE_INDEX_MAX)
                capacity = DEVICE_INDEX_MAX;
        tds = capacity > reserve ? (unsigned)capacity - reserve : 0;
        if (total->is_known && tds == total->tds)
                return false;
        log_info("capacity", log_int("tds", tds), log_int("capacity", (int64_t)capacity),
                 log_int("reserve", reserve), log_str("source", source));
        total->is_known = true;
        total->tds = tds;
        return true;
}

static void log_failure(struct capacity *total, const struct error *error)
{
        if (strcmp(total->error.text, error->text) == 0)
                return;
        total->error = *error;
        log_error("the TDX capacity cannot be read, keeping what is known",
                  log_str("reason", error->text));
}

static void log_outcome(struct capacity *total, int outcome, uint64_t capacity, const char *path)
{
        if (outcome == total->outcome)
                return;
        total->outcome = outcome;
        if (outcome == MISC_NO_TDX)
                log_warn("this host offers no TDs: misc.capacity has no tdx line. Load kvm_intel "
                         "with tdx=1 and see dmesg for virt/tdx, or give --capacity",
                         log_str("file", path));
        else if (outcome == MISC_NO_FILE)
                log_warn("this host offers no TDs: there is no misc.capacity. Mount the host's "
                         "/sys/fs/cgroup and name the file with --misc-capacity, or give "
                         "--capacity",
                         log_str("below", total->config->cgroup_root));
        else if (capacity > DEVICE_INDEX_MAX)
                log_warn("more TDs than can be offered, ignoring the rest",
                         log_int("offered", DEVICE_INDEX_MAX));
}

bool capacity_read(struct capacity *total)
{
        const struct config *config = total->config;
        struct error error = ERROR_NULL;
        char path[PATH_MAX] = "";
        uint64_t capacity = 0;
        int r;

        if (config->capacity >= 0)
                return set(total, (uint64_t)config->capacity, "--capacity");
        r = misc_read(config->misc_capacity, config->cgroup_root, &capacity, path, &error);
        if (r < 0) {
                log_failure(total, &error);
                return false;
        }
        total->error = (struct error)ERROR_NULL;
        log_outcome(total, r, capacity, path);
        return set(total, r ? 0 : capacity, path);
}
