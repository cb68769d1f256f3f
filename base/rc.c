#include "base/rc.h"

#include <stdio.h>
#include <string.h>

const char *rc_name(enum rc rc)
{
    switch (rc) {
    case RC_OK:
        return "ok";
    case RC_AGAIN:
        return "again";
    case RC_EOF:
        return "end of input";
    case RC_LIMIT:
        return "limit reached";
    case RC_BAD:
        return "malformed";
    case RC_IO:
        return "input/output error";
    case RC_TLS:
        return "TLS error";
    case RC_TIMEOUT:
        return "timed out";
    case RC_DENIED:
        return "denied";
    case RC_STATE:
        return "not possible now";
    }
    return "unknown";
}

void fail_text(const struct fail *fail, char *out, size_t size)
{
    char reason[128];

    if (fail->sys == 0) {
        snprintf(out, size, "could not %s: %s", fail->doing, rc_name(fail->rc));
        return;
    }
    snprintf(out, size, "could not %s: %s", fail->doing,
             strerror_r(fail->sys, reason, sizeof(reason)));
}
