/*
 * traffic.c - see traffic.h.
 */
#include "metering/ledger/traffic.h"

#include <stddef.h>

static const struct {
    const char *name;
    const char *environments;
} classes[] = {
    {"live", "prod production prd live"},
    {"evaluation", "eval evals evaluation evaluations"},
    {"test", "test tests testing qa ci uat stage staging preprod pre-prod"},
    {"load", "load loadtest load-test perf performance bench benchmark"},
    {"internal", "dev development internal local sandbox"},
};

struct strv traffic_class(struct strv environment)
{
    if (environment.n == 0)
        return STRV("");
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        struct strv rest = strv_z(classes[i].environments), one;

        while (strv_split(&rest, ' ', &one)) {
            if (strv_eq_nocase(one, environment))
                return strv_z(classes[i].name);
        }
    }
    return STRV("other");
}
