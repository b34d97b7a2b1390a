/* SPDX-License-Identifier: Apache-2.0 */
#include "attestation_facts.h"

#include "base/memory.h"

static char *copy_string(const char *string)
{
        return string ? xstrdup(string) : NULL;
}

struct attestation_facts attestation_facts_copy(const struct attestation_facts *facts)
{
        struct attestation_facts copy = *facts;

        /* Only seen_directory, mounted_file and doubt may be NULL. */
        copy.state = xstrdup(facts->state);
        copy.description = xstrdup(facts->description);
        copy.host_directory = xstrdup(facts->host_directory);
        copy.seen_directory = copy_string(facts->seen_directory);
        copy.vm_directory = xstrdup(facts->vm_directory);
        copy.mounted_file = copy_string(facts->mounted_file);
        copy.doubt = copy_string(facts->doubt);
        return copy;
}

void attestation_facts_deinit(struct attestation_facts *facts)
{
        free((char *)facts->state);
        free((char *)facts->description);
        free((char *)facts->host_directory);
        free((char *)facts->seen_directory);
        free((char *)facts->vm_directory);
        free((char *)facts->mounted_file);
        free((char *)facts->doubt);
}
