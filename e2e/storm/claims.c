/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubelet's part in a claim: Prepare when its pod comes, Unprepare when its container has gone.
 * kubelet repeats a refused call at the pod's next sync, 60 to 90 s later. A pod's stage tells
 * which of the two is due: POD_STARTING or POD_STOPPED.
 */
#include "base/error.h"
#include "e2e/storm/world.h"
#include "ledger.h"

#include <inttypes.h>
#include <stdio.h>

#define PATIENCE_MS 45000U

static uint64_t next_sync_ms(void)
{
        return chance_between(60000, 90000);
}

static struct prepare_claim_id id_of(const struct pod *pod)
{
        return (struct prepare_claim_id){ NAMESPACE, pod->name, pod->uid };
}

void claim_abandon(struct pod *pod)
{
        clock_cancel(&pod->patience);
        clock_cancel(&pod->next);
        if (pod->is_asking)
                prepare_cancel(&pod->request);
        pod->is_asking = false;
}

/* ---- Prepare ---- */

static void refused(struct pod *pod, const char *reason)
{
        truth_refused(pod, "the driver", reason);
        claim_begin(pod, next_sync_ms());
}

static void on_out_of_patience(void *owner)
{
        claim_abandon(owner);
        refused(owner, "kubelet waited in vain");
}

static void on_prepared(void *owner, const struct ledger_claim *claim, const struct error *error)
{
        struct pod *pod = owner;

        if (!pod->is_asking || !driver.is_active)
                return; /* the driver was killed: kubelet never gets this answer */
        pod->is_asking = false;
        clock_cancel(&pod->patience);
        if (!claim) {
                refused(pod, error->text);
                return;
        }
        ++figures.tallies[TALLY_PREPARED];
        figures.tallies[TALLY_WAITED] += clock_now() - pod->since_ms >= 1000;
        trace("%s is prepared", pod->name);
        pod->stage = POD_RUNNING;
        truth_take(pod);
}

static void prepare(void *owner)
{
        struct pod *pod = owner;
        const struct prepare_claim_id id = id_of(pod);

        if (!driver_serves_claims()) {
                refused(pod, "the driver is not there");
                return;
        }
        pod->has_claim_info = true;
        pod->is_asking = true;
        pod->since_ms = clock_now();
        pod->request = (struct prepare_request){ .on_done = on_prepared, .owner = pod };
        clock_plan(&pod->patience, PATIENCE_MS, on_out_of_patience, pod);
        prepare_claim(driver.prepare, &pod->request, &id, PATIENCE_MS);
}

void claim_begin(struct pod *pod, uint64_t delay_ms)
{
        clock_plan(&pod->next, delay_ms, prepare, pod);
}

/* ---- Unprepare ---- */

static void on_unprepared(void *owner, const struct ledger_claim *claim, const struct error *error)
{
        struct pod *pod = owner;

        if (!pod->is_asking || !driver.is_active)
                return;
        pod->is_asking = false;
        clock_cancel(&pod->patience);
        if (error->code) {
                trace("%s is not unprepared: %s", pod->name, error->text);
                claim_end(pod, next_sync_ms());
                return;
        }
        trace("%s is unprepared", pod->name);
        pod->has_claim_info = false;
        pod->stage = POD_UNSEEN;
        cluster_pod_over(pod);
}

static void on_unprepare_late(void *owner)
{
        struct pod *pod = owner;

        claim_abandon(pod);
        claim_end(pod, next_sync_ms());
}

static void unprepare(void *owner)
{
        struct pod *pod = owner;
        const struct prepare_claim_id id = id_of(pod);

        if (!driver_serves_claims()) {
                claim_end(pod, next_sync_ms());
                return;
        }
        pod->is_asking = true;
        pod->request = (struct prepare_request){ .on_done = on_unprepared, .owner = pod };
        clock_plan(&pod->patience, PATIENCE_MS, on_unprepare_late, pod);
        prepare_release(driver.prepare, &pod->request, &id);
}

void claim_end(struct pod *pod, uint64_t delay_ms)
{
        pod->stage = POD_STOPPED;
        if (pod->has_claim_info) {
                clock_plan(&pod->next, delay_ms, unprepare, pod);
                return;
        }
        pod->stage = POD_UNSEEN;
        cluster_pod_over(pod);
}

void claim_poke(struct pod *pod)
{
        if (!clock_is_planned(&pod->next) || pod->is_asking)
                return;
        if (pod->stage == POD_STARTING)
                claim_begin(pod, chance_between(10, 150));
        else if (pod->stage == POD_STOPPED)
                claim_end(pod, chance_between(10, 150));
}
