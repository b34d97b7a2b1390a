/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/rewrite.h"

#include "base/brake.h"
#include "base/log.h"
#include "claims/records.h"
#include "ledger.h"

#include <string.h>

/* The last write of a pass decides. A failure is logged only if its text is new: the disk may stay
 * full for days, and a pass runs at every poll. */
static void on_saved(void *owner, const struct error *error)
{
        struct rewrite *rewrite = owner;

        --rewrite->n_saving;
        if (error->code)
                rewrite->failure = *error;
        if (rewrite->n_saving)
                return;
        if (!rewrite->failure.code)
                log_info("every claim is recorded again");
        else if (strcmp(rewrite->failure.text, rewrite->told.text) != 0)
                log_error("claims that are held cannot be recorded, trying at each poll",
                          log_str("reason", rewrite->failure.text));
        rewrite->told = rewrite->failure;
        rewrite->is_behind |= rewrite->failure.code != 0;
}

void rewrite_all(struct rewrite *rewrite)
{
        rewrite->is_behind = true;
}

void rewrite_look(struct rewrite *rewrite)
{
        if (records_take_lost(rewrite->records)) {
                log_error_braked(
                        "the directory of claims' records was taken away while the driver runs; "
                        "what is held is in memory, and is written again",
                        log_int("claims", (int64_t)ledger_n_claims(rewrite->ledger)));
                rewrite->is_behind = true;
                rewrite->is_lost = true;
        }
        /* While a pass is in flight do not start another: is_behind stays set, and the next look
         * saves all again. */
        if (!rewrite->is_behind || rewrite->n_saving)
                return;
        rewrite->is_behind = false;
        rewrite->failure = (struct error)ERROR_NULL;
        for (const struct ledger_claim *claim = ledger_next(rewrite->ledger, NULL); claim;
             claim = ledger_next(rewrite->ledger, claim)) {
                /* An unidentified claim has no UID, hence no file name. kubelet's list restores it
                 * after a restart.
                 */
                if (claim->is_unidentified || rewrite->is_leaving(rewrite->owner, claim->uid))
                        continue;
                ++rewrite->n_saving;
                records_save(rewrite->records, claim, on_saved, rewrite);
        }
}

bool rewrite_take_lost(struct rewrite *rewrite)
{
        bool is_lost = rewrite->is_lost;

        rewrite->is_lost = false;
        return is_lost;
}

const char *rewrite_trouble(const struct rewrite *rewrite)
{
        return rewrite->told.code ? rewrite->told.text : NULL;
}
