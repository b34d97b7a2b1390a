/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/share.h"

static unsigned least(unsigned a, unsigned b)
{
        return a < b ? a : b;
}

unsigned share_of_worker(const struct share *share)
{
        unsigned occupied = share->n_orphans + share->n_inherited;
        unsigned left = share->n_threads > occupied ? share->n_threads - occupied : 0;
        unsigned half = share->n_threads > 1 ? share->n_threads / 2 : 1;

        if (!share->is_handing_over)
                return left;
        if (share->is_state_known)
                half = least(half, share->n_connections);
        return least(half, left);
}

unsigned share_remaining(const struct share *share)
{
        unsigned own = share_of_worker(share) + share->n_orphans;

        /* More than its part may be at QGS from before, or from VMs that have left. */
        if (own < share->n_at_qgs)
                own = share->n_at_qgs;
        return own + share->n_inherited;
}
