/*
 * waste.h - which class of the report on waste a request is of.
 *
 * The first that fits:
 *   retry           a later attempt of the same work superseded it
 *   error           it ended in an error
 *   failed_task, abandoned_task   what else such tasks spent
 *   cancelled       the client left, or a limit cut it
 *   truncated       it hit its output bound
 *   refused         the model declined
 *   duplicate       the same request had been answered within a day
 *   useful          all else
 */
#ifndef REPORTS_WASTE_H
#define REPORTS_WASTE_H

#include "metering/ledger/ledger_read.h"

enum waste_class {
    WASTE_RETRY = 0,
    WASTE_ERROR,
    WASTE_FAILED,
    WASTE_ABANDONED,
    WASTE_CANCELLED,
    WASTE_TRUNCATED,
    WASTE_REFUSED,
    WASTE_DUPLICATE,
    WASTE_USEFUL,
    WASTE_CLASSES,
};

/* "retry", "error", "failed_task", ... */
const char *waste_class_name(enum waste_class class);
/* False where no class has that name. */
bool waste_class_parse(struct strv name, enum waste_class *out);

/* The class that the outcome alone gives; a repeat that is useful is a duplicate. */
enum waste_class waste_of(enum outcome outcome);
/* The class of attempts of a task with that outcome. */
enum waste_class waste_in_task(enum ledger_part part, enum task_outcome task);
/* The class of what corrects attempts of the task that are not in the answer. */
enum waste_class waste_rest(enum task_outcome task);

#endif
