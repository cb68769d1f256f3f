#include "proxy/base_path.h"

#include "metering/usage/protocol.h"

struct strv base_path_before(struct strv base, struct strv rest)
{
    /* From each of its slashes on, the longest tail first. */
    for (size_t i = 0; i < base.n; i++) {
        struct strv tail = strv_skip(base, i);
        size_t last = tail.n;

        if (base.p[i] != '/' || !strv_starts(rest, tail) ||
            (rest.n > tail.n && rest.p[tail.n] != '/'))
            continue;
        while (tail.p[last - 1] != '/')
            last--;
        if (protocol_is_version(strv_skip(tail, last)))
            return strv_head(base, i);
    }
    return base;
}
