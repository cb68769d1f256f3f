/*
 * long_job.h - jobs of the command line that take a while: how far they are, and their
 * end by Ctrl-C.
 *
 * Progress goes to standard error, and only where that is a terminal.  A first SIGINT or
 * SIGTERM asks the job to stop, which it does at its next look and leaves nothing half
 * made; the process then ends as by that signal.
 */
#ifndef PROXY_LONG_JOB_H
#define PROXY_LONG_JOB_H

#include <stdbool.h>
#include <stdint.h>

struct long_job {
    const char *doing;
    uint64_t total; /* 0: not known */
    int64_t shown_us;
    bool terminal, shown;
};

/* Hears signals until long_job_end. One at a time. */
void long_job_start(struct long_job *job, const char *doing, uint64_t total);
/* So many are done. False where the job was asked to stop. */
bool long_job_at(struct long_job *job, uint64_t done);
/* The work is whole: from now on a signal ends the process as always. */
void long_job_done(struct long_job *job);
/* Wipes what was shown. Where the job was asked to stop, ends the process by that signal. */
void long_job_end(struct long_job *job);
/* True from the signal on: to clean up before long_job_end. */
bool long_job_stopped(void);

/*
 * For jobs of one step, which a signal may end at any time as they write nothing: after a
 * second tells on a terminal how long they have taken, each second, until the stop.
 */
void long_job_clock_start(const char *doing);
void long_job_clock_stop(void);

#endif
