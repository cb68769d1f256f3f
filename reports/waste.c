#include "reports/waste.h"

static const char *const class_names[WASTE_CLASSES] = {
    "retry",     "error",   "failed_task", "abandoned_task", "cancelled",
    "truncated", "refused", "duplicate",   "useful"};

const char *waste_class_name(enum waste_class class)
{
    return class_names[class];
}

bool waste_class_parse(struct strv name, enum waste_class *out)
{
    for (unsigned i = 0; i < WASTE_CLASSES; i++) {
        if (strv_eq(name, strv_z(class_names[i]))) {
            *out = (enum waste_class)i;
            return true;
        }
    }
    return false;
}

enum waste_class waste_of(enum outcome o)
{
    switch (o) {
    case OUTCOME_PROVIDER_ERROR:
    case OUTCOME_UPSTREAM_ABORT:
    case OUTCOME_TIMEOUT:
    case OUTCOME_INTERRUPTED:
        return WASTE_ERROR;
    case OUTCOME_CLIENT_ABORT:
    case OUTCOME_CUT:
        return WASTE_CANCELLED;
    case OUTCOME_TRUNCATED:
        return WASTE_TRUNCATED;
    case OUTCOME_REFUSED:
        return WASTE_REFUSED;
    case OUTCOME_OK:
    case OUTCOME_COUNT:
        break;
    }
    return WASTE_USEFUL;
}

enum waste_class waste_in_task(const struct ledger_attempt *a, enum task_outcome task)
{
    enum waste_class class = waste_of(a->outcome);

    if (a->is_superseded)
        return WASTE_RETRY;
    if (class == WASTE_ERROR)
        return class;
    if (task == TASK_FAILED)
        return WASTE_FAILED;
    if (task == TASK_ABANDONED)
        return WASTE_ABANDONED;
    return class == WASTE_USEFUL && a->is_repeat ? WASTE_DUPLICATE : class;
}

enum waste_class waste_rest(enum task_outcome task)
{
    return task == TASK_FAILED      ? WASTE_FAILED
           : task == TASK_ABANDONED ? WASTE_ABANDONED
                                    : WASTE_USEFUL;
}
