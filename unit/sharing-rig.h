/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by test-sharing.c and test-sharing-offer.c. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "device.h"
#include "ledger.h"
#include "plugin/holder.h"
#include "plugin/holdings.h"
#include "plugin/sharing.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

#define DYNAMIC (-1)    /* the split that offers all TDs to both */
#define START   1000000 /* an arbitrary time */

static const char *const tdx0[] = { "tdx0" };
static const char *const tdx1[] = { "tdx1" };
static const char *const three[] = { "tdx0", "tdx1", "tdx2" };

static inline struct ledger *make_ledger(unsigned total)
{
        struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, total);
        return ledger;
}

/* A claim of n TDs, named tdx0 and so on; its UID distinguishes it from others. 0, or the ledger's
 * outcome. */
static inline int hold_claim(struct ledger *ledger, const char *uid, size_t n)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim =
                ledger_claim_new(uid, "default", uid, n);
        int r;

        for (size_t i = 0; i < n; ++i) {
                claim->devices[i].request = xstrdup("td");
                claim->devices[i].pool = xstrdup("node-1");
                claim->devices[i].device = xasprintf("tdx%zu", i);
                claim->devices[i].slot = LEDGER_NO_SLOT;
        }
        r = ledger_hold(ledger, claim);
        if (r == 0)
                take_ptr(claim);
        return r;
}

static inline void release_claim(struct ledger *ledger, const char *uid)
{
        ledger_claim_free(ledger_release(ledger, uid));
}

/* kubelet has been up for long, and lists these. */
static inline bool list(struct sharing *sharing, const char *const *ids, size_t n, uint64_t now_ms)
{
        return sharing_listed(sharing, ids, n, true, UINT64_MAX, now_ms);
}

/* A plugin side that knows at START that nothing is held. */
static inline struct sharing *make_known(struct ledger *ledger, int64_t split)
{
        struct sharing *sharing = sharing_new(ledger, split, NULL, START - SHARING_PODS_SETTLE_MS);

        ck_assert(list(sharing, NULL, 0, START - SHARING_PODS_SETTLE_MS));
        ck_assert(!list(sharing, NULL, 0, START));
        return sharing;
}

static inline int allocate(struct sharing *sharing, const char *const *ids, size_t n,
                           uint64_t now_ms)
{
        struct error error = ERROR_NULL;

        return sharing_allocate(sharing, ids, n, now_ms, &error);
}

/* "tdx0+ tdx1-": tdx0 is Healthy, tdx1 is not. */
static inline char *tell_offer(struct sharing *sharing)
{
        _cleanup_(free) struct sharing_device *devices = NULL;
        struct text text = TEXT_NULL;
        size_t n;

        devices = sharing_offer(sharing, &n);
        for (size_t i = 0; i < n; ++i)
                text_addf(&text, "%s%s%s", i ? " " : "", devices[i].id,
                          devices[i].is_healthy ? "+" : "-");
        return text_take(&text);
}

#define ck_assert_offer(sharing, expected)                          \
        do {                                                        \
                _cleanup_(free) char *offer_ = tell_offer(sharing); \
                ck_assert_str_eq(offer_, expected);                 \
        } while (0)

/* The largest claim that fits next. */
static inline unsigned room_for_claims(const struct ledger *ledger)
{
        unsigned taken = ledger_held(ledger) + ledger_elsewhere(ledger);

        return ledger_total(ledger) > taken ? ledger_total(ledger) - taken : 0;
}
