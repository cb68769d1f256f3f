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

static enum waste_class of_part(enum ledger_part part)
{
    switch (part) {
    case PART_SUPERSEDED_ERROR:
    case PART_SUPERSEDED:
        return WASTE_RETRY;
    case PART_ERROR:
        return WASTE_ERROR;
    case PART_CUT:
        return WASTE_CANCELLED;
    case PART_TRUNCATED:
        return WASTE_TRUNCATED;
    case PART_REFUSED:
        return WASTE_REFUSED;
    case PART_REPEAT:
        return WASTE_DUPLICATE;
    case PART_OK:
    case LEDGER_PARTS:
        break;
    }
    return WASTE_USEFUL;
}

enum waste_class waste_in_task(enum ledger_part part, enum task_outcome task)
{
    enum waste_class class = of_part(part);

    if (class == WASTE_RETRY || class == WASTE_ERROR)
        return class;
    if (task == TASK_FAILED)
        return WASTE_FAILED;
    return task == TASK_ABANDONED ? WASTE_ABANDONED : class;
}

enum waste_class waste_rest(enum task_outcome task)
{
    return task == TASK_FAILED      ? WASTE_FAILED
           : task == TASK_ABANDONED ? WASTE_ABANDONED
                                    : WASTE_USEFUL;
}
