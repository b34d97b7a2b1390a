/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include "base/parse.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int device_parse(const char *name, unsigned *ret_index)
{
        const char *digits = name + 3;
        uint64_t index;

        if (strncmp(name, "tdx", 3) != 0 || (digits[0] == '0' && digits[1]))
                return -EINVAL;
        if (parse_u64(digits, strlen(digits), &index) < 0 || index >= DEVICE_INDEX_MAX)
                return -EINVAL;
        *ret_index = (unsigned)index;
        return 0;
}

void device_print(char ret[static DEVICE_NAME_SIZE], unsigned index)
{
        assert(index < DEVICE_INDEX_MAX);
        snprintf(ret, DEVICE_NAME_SIZE, "tdx%u", index % DEVICE_INDEX_MAX);
}
