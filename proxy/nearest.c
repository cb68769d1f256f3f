#include "proxy/nearest.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t nearest_distance(struct strv a, struct strv b)
{
    size_t row[NEAREST_MAX_BYTES + 1];

    a = strv_head(a, NEAREST_MAX_BYTES);
    b = strv_head(b, NEAREST_MAX_BYTES);
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 0; i < a.n; i++) {
        size_t corner = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < b.n; j++) {
            size_t replaced = corner + (a.p[i] == b.p[j] ? 0 : 1);

            corner = row[j + 1];
            row[j + 1] = least(replaced, least(corner, row[j]) + 1);
        }
    }
    return row[b.n];
}
