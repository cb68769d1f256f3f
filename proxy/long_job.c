#include "proxy/long_job.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"

enum { SHOW_EVERY_US = 100000 };

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

static void hear(void (*handler)(int))
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    /* A second one ends the process at once. */
    action.sa_flags = (int)SA_RESETHAND;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

void long_job_start(struct long_job *job, const char *doing, uint64_t total)
{
    *job = (struct long_job){.doing = doing,
                             .total = total,
                             .shown_us = clock_mono_us(),
                             .terminal = isatty(STDERR_FILENO) == 1};
    stop_signal = 0;
    hear(on_signal);
}

bool long_job_stopped(void)
{
    return stop_signal != 0;
}

bool long_job_at(struct long_job *job, uint64_t done)
{
    int64_t now;

    if (stop_signal != 0)
        return false;
    if (!job->terminal || done % 64 != 0)
        return true;
    now = clock_mono_us();
    if (now - job->shown_us < SHOW_EVERY_US)
        return true;
    job->shown_us = now;
    job->shown = true;
    if (job->total >= done && job->total > 0)
        fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64 " (%" PRIu64 " %%)  ", job->doing, done,
                job->total, done * 100 / job->total);
    else
        fprintf(stderr, "\r%s: %" PRIu64 "  ", job->doing, done);
    return true;
}

void long_job_done(struct long_job *job)
{
    if (job->shown)
        fprintf(stderr, "\r\033[K");
    job->shown = false;
    hear(SIG_DFL);
    stop_signal = 0;
}

void long_job_end(struct long_job *job)
{
    int number = stop_signal;

    long_job_done(job);
    if (number != 0) {
        fprintf(stderr, "%s: stopped\n", job->doing);
        (void)raise(number);
    }
}

/* ---- the clock --------------------------------------------------------------------------- */

static const char *clock_doing;
static volatile sig_atomic_t clock_s;

/* Only what a signal's handler may call. */
static void on_alarm(int number)
{
    char text[128] = "\r", digits[12];
    size_t n = 1, at = sizeof(digits);
    int s = ++clock_s;

    (void)number;
    for (const char *p = clock_doing; *p && n < 100; p++)
        text[n++] = *p;
    text[n++] = ':';
    text[n++] = ' ';
    do {
        digits[--at] = (char)('0' + s % 10);
        s /= 10;
    } while (s > 0 && at > 0);
    while (at < sizeof(digits))
        text[n++] = digits[at++];
    text[n++] = ' ';
    text[n++] = 's';
    if (write(STDERR_FILENO, text, n) < 0)
        clock_s = 0; /* nobody to tell */
}

static void set_alarm(void (*handler)(int), time_t every_s)
{
    const struct itimerval timer = {{every_s, 0}, {every_s, 0}};
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

void long_job_clock_start(const char *doing)
{
    clock_s = 0;
    clock_doing = isatty(STDERR_FILENO) == 1 ? doing : NULL;
    if (clock_doing)
        set_alarm(on_alarm, 1);
}

void long_job_clock_stop(void)
{
    if (!clock_doing)
        return;
    set_alarm(SIG_IGN, 0);
    if (clock_s > 0)
        fprintf(stderr, "\r\033[K");
    clock_doing = NULL;
}
