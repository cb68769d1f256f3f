/*
 * fuzz_net.h - a network without a network: what the program connects to is a socket pair, whose
 * far end is the fuzz target's; and time that passes when the target says so.
 *
 * connect(), setsockopt() and clock_gettime() stand here in the place of the C library's: the
 * program's own code, libevent and hiredis call these.
 */
#ifndef TESTS_FUZZ_FUZZ_NET_H
#define TESTS_FUZZ_FUZZ_NET_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"

enum { FARS_MAX = 64, FAR_BYTES = 4 << 20, FAR_READ_BYTES = 16 << 10 };

/* The other end of a connection of the program's. */
struct far {
    int fd;          /* -1: closed here */
    bool ended;      /* the program has closed its end, or its half */
    bool deaf;       /* nothing is read from it for now */
    struct buf sent; /* what the program was sent */
    struct buf got;  /* what it sent */
};

static struct far fars[FARS_MAX]; /* of connect() */
static size_t n_fars;
static bool refuse_connect; /* nobody listens */
static int64_t time_moved_ns;

int clock_gettime(clockid_t id, struct timespec *ts);
int connect(int fd, const struct sockaddr *to, socklen_t len);
int setsockopt(int fd, int level, int name, const void *value, socklen_t n);

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int64_t ns;

    if (syscall(SYS_clock_gettime, id, ts) != 0)
        return -1;
    if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
        return 0;
    ns = ts->tv_nsec + time_moved_ns;
    ts->tv_sec += ns / 1000000000;
    ts->tv_nsec = ns % 1000000000;
    return 0;
}

static void pass_time(int64_t ms)
{
    time_moved_ns += ms * 1000000;
}

static void far_init(struct far *f, int fd)
{
    *f = (struct far){.fd = fd};
    buf_init(&f->sent, FAR_BYTES);
    buf_init(&f->got, FAR_BYTES);
}

/* A pair; *near_fd is the program's. */
static void far_pair(struct far *f, int *near_fd)
{
    int pair[2];

    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    *near_fd = pair[0];
    far_init(f, pair[1]);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    int near_fd;

    (void)to;
    (void)len;
    if (refuse_connect || n_fars == FARS_MAX) {
        errno = ECONNREFUSED;
        return -1;
    }
    far_pair(&fars[n_fars++], &near_fd);
    ASSERT(dup3(near_fd, fd, O_CLOEXEC) == fd);
    close(near_fd);
    return 0;
}

/* As much as goes. */
static void far_send(struct far *f, const void *bytes, size_t n)
{
    ssize_t put;

    if (f->fd < 0 || n == 0)
        return;
    put = send(f->fd, bytes, n, MSG_NOSIGNAL);
    if (put > 0)
        ASSERT(buf_append(&f->sent, bytes, (size_t)put) == RC_OK);
}

static void far_read(struct far *f)
{
    char bytes[FAR_READ_BYTES];
    ssize_t got;

    while (f->fd >= 0 && !f->ended && !f->deaf) {
        got = recv(f->fd, bytes, sizeof(bytes), 0);
        if (got < 0 && errno == EAGAIN)
            break;
        if (got <= 0)
            f->ended = true;
        else if (buf_append(&f->got, bytes, (size_t)got) != RC_OK)
            f->deaf = true;
    }
}

/* Pairs have no options of TCP, which whoever sets them need not know. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
    if (level == IPPROTO_TCP)
        return 0;
    return (int)syscall(SYS_setsockopt, fd, level, name, value, n);
}

static void far_close(struct far *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static void far_forget(struct far *f)
{
    far_close(f);
    buf_release(&f->sent);
    buf_release(&f->got);
}

#endif
