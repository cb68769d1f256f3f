#include "proxy/cmd_import_ledger.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/datetime.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "metering/ledger/take.h"
#include "proxy/cmd.h"
#include "proxy/cmd_config.h"
#include "proxy/long_job.h"
#include "reports/trail.h"

static bool on_told(const char *doing, uint64_t done, uint64_t total, void *arg)
{
    struct long_job *job = arg;

    job->doing = doing;
    job->total = total;
    return long_job_at(job, done);
}

static void complain(const char *path, const struct fail *fail)
{
    char why[256];

    fail_text(fail, why, sizeof(why));
    if (fail->sys == 0) /* what could not be done says why */
        (void)snprintf(why, sizeof(why), "could not %s", fail->doing);
    (void)fprintf(stderr, "tollgate import: %s%s%s\n", path, *path ? ": " : "", why);
}

/* What is in the books of it. False where something is not. */
static bool tell(const char *path, const struct taken *taken, enum rc rc, const struct fail *fail)
{
    char as_of[DATETIME_TEXT];

    if (rc != RC_OK)
        complain(path, fail);
    if (rc == RC_OK || taken->records > 0) {
        printf("%s: %" PRIu64 " records added", path, taken->records);
        if (taken->known > 0)
            printf(", %" PRIu64 " were there", taken->known);
        if (taken->refusals > 0)
            printf(", %" PRIu64 " refusals counted", taken->refusals);
        datetime_format_us(taken->as_of_us, as_of);
        printf(rc == RC_OK ? ", as of %s\n" : ", then it ended\n", as_of);
    }
    if (taken->differing > 0)
        (void)fprintf(stderr,
                      "tollgate import: %s: %" PRIu64 " records have the ids of other records of "
                      "the books, and were not taken\n",
                      path, taken->differing);
    (void)fflush(stdout);
    return rc == RC_OK && taken->differing == 0;
}

/* What was taken stays taken where this fails. */
static void note(const char *state_dir, const char *path, const struct taken *taken)
{
    char *detail = xasprintf("%s: %" PRIu64 " records, %" PRIu64 " refusals", path, taken->records,
                             taken->refusals);

    if (taken->records > 0 || taken->refusals > 0)
        trail_note(state_dir, &(struct trail_change){.action = "import ledger",
                                                     .object = "ledger",
                                                     .detail = detail});
    free(detail);
}

static int take_all(struct taker *taker, const char *state_dir, struct long_job *job, char **paths,
                    int n, unsigned flags)
{
    struct taken taken;
    struct fail fail = {0};
    bool is_whole = true, is_told = true;
    char as_of[DATETIME_TEXT];
    int64_t as_of_us;
    enum rc rc = RC_OK;

    for (int i = 0; i < n && rc != RC_EOF; i++) {
        long_job_start(job, "import", 0);
        rc = taker_take(taker, paths[i], flags, &taken, &fail);
        note(state_dir, paths[i], &taken);
        if (rc == RC_EOF)
            break;
        long_job_done(job);
        is_whole &= rc == RC_OK;
        is_told &= tell(paths[i], &taken, rc, &fail);
    }
    if (rc == RC_EOF)
        return EXIT_NO; /* as long_job_end says */
    long_job_start(job, "import", 0);
    rc = taker_finish(taker, is_whole, &as_of_us, &fail);
    if (rc == RC_EOF)
        return EXIT_NO;
    long_job_done(job);
    if (rc != RC_OK) {
        complain("", &fail);
        return EXIT_NO;
    }
    datetime_format_us(as_of_us, as_of);
    printf("the books are complete up to %s%s\n", as_of_us > 0 ? as_of : "no time yet",
           is_whole ? "" : ": not every ledger was taken");
    return is_told ? EXIT_GOOD : EXIT_NO;
}

int import_ledgers(const char *file, char **paths, int n, unsigned flags)
{
    struct config *config = cmd_load(file);
    struct long_job job = {.doing = "import"};
    struct taker *taker = NULL;
    struct fail fail = {0};
    char *journal_dir;
    int status = EXIT_USAGE;

    if (!config)
        return EXIT_USAGE;
    log_setup(LOG_WARN, LOG_LOGFMT);
    journal_dir = xasprintf("%s/journal", config->state_dir);
    (void)mkdir(config->state_dir, 0700); /* where not, what follows says why */
    taker = taker_open(config->ledger_path, journal_dir, on_told, &job, &fail);
    if (taker)
        status = take_all(taker, config->state_dir, &job, paths, n, flags);
    else
        complain("", &fail);
    taker_close(taker);
    if (long_job_stopped())
        long_job_end(&job);
    free(journal_dir);
    config_free(config);
    return status;
}
