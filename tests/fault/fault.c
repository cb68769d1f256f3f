/*
 * fault.c - a library to be loaded before all others (LD_PRELOAD), which makes one allocation or
 * one system call of a program fail: the Nth since it was armed.
 *
 * The file that TOLLGATE_FAULT names is mapped by the program and by its test, and is how they
 * speak: the test writes what is to fail and which one of them, arms it, and reads afterwards
 * whether it did and where.  Only threads whose name begins as the test says are counted, or the
 * first one alone ("main"); and where the test says so only from the moment on at which such a
 * thread opens a file whose path ends in a text.
 *
 * A call fails as the system might fail it: with an error that its manual names, or with less than
 * was asked.  Calls that the C library makes inside itself are not seen.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WHERE_BYTES = 2048, FRAMES = 24, THREAD_BYTES = 16, NAME_BYTES = 32, PATH_BYTES = 64 };

enum kind { KIND_ALLOCATION = 1, KIND_CALL = 2 };

/* How a call fails; the test walks through them. */
enum mode {
    MODE_FIRST = 0, /* the first error of its list, and so on */
    MODE_SHORT = 100, /* less than was asked: one byte */
    MODE_END = 101,   /* nothing: the end */
};

/* As the test has it (tests/integration/kit/faults.py). */
struct control {
    _Atomic uint32_t armed; /* enum kind; 0: nothing fails */
    int32_t mode;           /* of calls; allocations fail in one way */
    _Atomic int64_t left;   /* that pass before one fails */
    _Atomic int64_t times;  /* that fail then, of the first one's name */
    _Atomic uint32_t fired;
    _Atomic uint32_t seen;  /* of that kind since it was armed */
    char thread[THREAD_BYTES];
    char what[NAME_BYTES];   /* that failed first */
    int32_t error;           /* what it was failed with; 0: it was short, or had ended */
    char where[WHERE_BYTES]; /* the way to it: module+offset, divided by blanks */
    char from[PATH_BYTES];   /* nothing counts before a path that ends so is opened; "": all does */
    _Atomic uint32_t begun;  /* it was */
};

static struct control *control;
static _Thread_local int busy; /* what this library itself calls is not counted */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t align, size_t size);

__attribute__((constructor)) static void fault_start(void)
{
    const char *path = getenv("TOLLGATE_FAULT");
    void *warm[2];
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    (void)backtrace(warm, 2); /* loads what it needs */
    at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        control = at;
}

static int is_mine(void)
{
    char name[THREAD_BYTES + 1] = "";

    if (strcmp(control->thread, "main") == 0)
        return gettid() == getpid();
    prctl(PR_GET_NAME, name);
    return strncmp(name, control->thread, strnlen(control->thread, THREAD_BYTES)) == 0;
}

static void note(const char *what, int error)
{
    void *frames[FRAMES];
    int n = backtrace(frames, FRAMES);
    size_t at = 0;

    strncpy(control->what, what, NAME_BYTES - 1);
    control->error = error;
    control->where[0] = '\0';
    for (int i = 2; i < n && at < WHERE_BYTES - 128; i++) {
        Dl_info info;

        if (dladdr(frames[i], &info) && info.dli_fname) {
            const char *slash = strrchr(info.dli_fname, '/');

            at += (size_t)snprintf(control->where + at, WHERE_BYTES - at, "%.60s+0x%lx ",
                                   slash ? slash + 1 : info.dli_fname,
                                   (unsigned long)((char *)frames[i] - (char *)info.dli_fbase));
        }
    }
}

/* Is it this one's turn?  n: how many errors it has; 0 of them: an allocation. */
static int falls(enum kind kind, const char *what, const int *errors, int n, int can_be_short)
{
    int mode, yes = 0;

    if (!control || busy || atomic_load(&control->armed) != kind)
        return 0;
    busy = 1;
    if (!is_mine() || (control->from[0] && !atomic_load(&control->begun)))
        goto out;
    mode = control->mode;
    /* Only those that can fail in that way are counted. */
    if (kind == KIND_CALL && (mode >= MODE_SHORT ? !(can_be_short & (mode == MODE_SHORT ? 1 : 2))
                                                 : mode >= n))
        goto out;
    atomic_fetch_add(&control->seen, 1);
    if (atomic_load(&control->fired) > 0 && strcmp(control->what, what) != 0)
        goto out; /* those that fail then are of one name */
    if (atomic_fetch_sub(&control->left, 1) > 0 || atomic_fetch_sub(&control->times, 1) <= 0)
        goto out;
    yes = 1;
    if (atomic_load(&control->fired) == 0)
        note(what, kind == KIND_CALL && mode < MODE_SHORT ? errors[mode] : 0);
    atomic_fetch_add(&control->fired, 1);
    errno = kind == KIND_ALLOCATION ? ENOMEM : mode < MODE_SHORT ? errors[mode] : 0;
out:
    busy = 0;
    return yes;
}

/* A file is about to be opened. */
static void opens(const char *path)
{
    size_t n = strlen(path), from;

    if (!control || busy || !control->from[0] || atomic_load(&control->begun))
        return;
    from = strnlen(control->from, PATH_BYTES);
    busy = 1;
    if (n >= from && memcmp(path + n - from, control->from, from) == 0 && is_mine())
        atomic_store(&control->begun, 1);
    busy = 0;
}

static int is_short(void)
{
    return control->mode == MODE_SHORT;
}

static int ends(void)
{
    return control->mode == MODE_END;
}

/* ---- allocations -------------------------------------------------------------------------- */

void *malloc(size_t size)
{
    return falls(KIND_ALLOCATION, "malloc", NULL, 0, 0) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return falls(KIND_ALLOCATION, "calloc", NULL, 0, 0) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
    return falls(KIND_ALLOCATION, "realloc", NULL, 0, 0) ? NULL : __libc_realloc(block, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return falls(KIND_ALLOCATION, "aligned_alloc", NULL, 0, 0) ? NULL
                                                               : __libc_memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    void *block;

    if (falls(KIND_ALLOCATION, "posix_memalign", NULL, 0, 0))
        return ENOMEM;
    block = __libc_memalign(align, size);
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

/* ---- system calls --------------------------------------------------------------------------- */

#define NEXT(name) ((__typeof__(&(name)))next(#name))
#define ERRORS(...) (const int[]){__VA_ARGS__}, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int))
#define FALLS(name, shortness, ...) falls(KIND_CALL, name, ERRORS(__VA_ARGS__), shortness)

static void *next(const char *name)
{
    void *found;

    busy++;
    found = dlsym(RTLD_NEXT, name);
    busy--;
    if (!found)
        abort();
    return found;
}

#define READ_ERRORS  EINTR, EAGAIN, EIO, ECONNRESET, ENOMEM
#define WRITE_ERRORS EINTR, EAGAIN, EIO, EPIPE, ENOSPC
#define FILE_ERRORS  EMFILE, ENOENT, EACCES, ENOSPC, ENOMEM

ssize_t read(int fd, void *to, size_t n)
{
    if (FALLS("read", 3, READ_ERRORS)) {
        if (ends())
            return 0;
        if (!is_short())
            return -1;
        n = n > 1 ? 1 : n;
    }
    return NEXT(read)(fd, to, n);
}

ssize_t recv(int fd, void *to, size_t n, int flags)
{
    if (FALLS("recv", 3, READ_ERRORS)) {
        if (ends())
            return 0;
        if (!is_short())
            return -1;
        n = n > 1 ? 1 : n;
    }
    return NEXT(recv)(fd, to, n, flags);
}

ssize_t recvfrom(int fd, void *to, size_t n, int flags, struct sockaddr *from, socklen_t *len)
{
    if (FALLS("recvfrom", 0, READ_ERRORS))
        return -1;
    return NEXT(recvfrom)(fd, to, n, flags, from, len);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    if (FALLS("recvmsg", 0, READ_ERRORS))
        return -1;
    return NEXT(recvmsg)(fd, m, flags);
}

ssize_t readv(int fd, const struct iovec *v, int n)
{
    if (FALLS("readv", 0, READ_ERRORS))
        return -1;
    return NEXT(readv)(fd, v, n);
}

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    if (FALLS("pread", 3, EINTR, EIO)) {
        if (ends())
            return 0;
        if (!is_short())
            return -1;
        n = n > 1 ? 1 : n;
    }
    return NEXT(pread)(fd, to, n, at);
}

ssize_t pread64(int fd, void *to, size_t n, off_t at)
{
    return pread(fd, to, n, at);
}

ssize_t write(int fd, const void *from, size_t n)
{
    if (FALLS("write", 1, WRITE_ERRORS)) {
        if (!is_short())
            return -1;
        n = n > 1 ? 1 : n;
    }
    return NEXT(write)(fd, from, n);
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
    if (FALLS("send", 1, WRITE_ERRORS)) {
        if (!is_short())
            return -1;
        n = n > 1 ? 1 : n;
    }
    return NEXT(send)(fd, from, n, flags);
}

ssize_t sendto(int fd, const void *from, size_t n, int flags, const struct sockaddr *to,
               socklen_t len)
{
    if (FALLS("sendto", 0, WRITE_ERRORS))
        return -1;
    return NEXT(sendto)(fd, from, n, flags, to, len);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    if (FALLS("sendmsg", 0, WRITE_ERRORS))
        return -1;
    return NEXT(sendmsg)(fd, m, flags);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (FALLS("writev", 0, WRITE_ERRORS))
        return -1;
    return NEXT(writev)(fd, v, n);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (FALLS("pwrite", 1, EINTR, EIO, ENOSPC)) {
        if (!is_short())
            return -1;
        n = n > 1 ? 1 : n;
    }
    return NEXT(pwrite)(fd, from, n, at);
}

ssize_t pwrite64(int fd, const void *from, size_t n, off_t at)
{
    return pwrite(fd, from, n, at);
}

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    if (FALLS("accept4", 0, EINTR, EAGAIN, EMFILE, ECONNABORTED, ENOMEM))
        return -1;
    return NEXT(accept4)(fd, from, len, flags);
}

int socket(int domain, int type, int protocol)
{
    if (FALLS("socket", 0, EMFILE, ENOBUFS, EACCES))
        return -1;
    return NEXT(socket)(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    if (FALLS("connect", 0, ECONNREFUSED, EAGAIN, ENETUNREACH, EADDRNOTAVAIL))
        return -1;
    return NEXT(connect)(fd, to, len);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
    if (FALLS("setsockopt", 0, ENOBUFS, EINVAL))
        return -1;
    return NEXT(setsockopt)(fd, level, name, value, n);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *n)
{
    if (FALLS("getsockopt", 0, ENOBUFS))
        return -1;
    return NEXT(getsockopt)(fd, level, name, value, n);
}

int shutdown(int fd, int how)
{
    if (FALLS("shutdown", 0, ENOTCONN))
        return -1;
    return NEXT(shutdown)(fd, how);
}

int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    if (FALLS("epoll_ctl", 0, ENOMEM, ENOSPC))
        return -1;
    return NEXT(epoll_ctl)(epoll, what, fd, event);
}

int epoll_wait(int epoll, struct epoll_event *events, int n, int ms)
{
    if (FALLS("epoll_wait", 0, EINTR))
        return -1;
    return NEXT(epoll_wait)(epoll, events, n, ms);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode = 0;

    va_start(rest, flags);
    if (flags & (O_CREAT | O_TMPFILE))
        mode = va_arg(rest, mode_t);
    va_end(rest);
    opens(path);
    if (FALLS("open", 0, FILE_ERRORS))
        return -1;
    return NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode = 0;

    va_start(rest, flags);
    if (flags & (O_CREAT | O_TMPFILE))
        mode = va_arg(rest, mode_t);
    va_end(rest);
    return open(path, flags, mode);
}

/* The C library opens inside itself. */
FILE *fopen64(const char *path, const char *how)
{
    opens(path);
    if (FALLS("fopen", 0, FILE_ERRORS))
        return NULL;
    return NEXT(fopen64)(path, how);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode = 0;

    va_start(rest, flags);
    if (flags & (O_CREAT | O_TMPFILE))
        mode = va_arg(rest, mode_t);
    va_end(rest);
    opens(path);
    if (FALLS("openat", 0, FILE_ERRORS))
        return -1;
    return NEXT(openat)(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode = 0;

    va_start(rest, flags);
    if (flags & (O_CREAT | O_TMPFILE))
        mode = va_arg(rest, mode_t);
    va_end(rest);
    return openat(dir, path, flags, mode);
}

/* What a dying disk says in the middle of a folder: the C library reads it by itself. */
struct dirent64 *readdir64(DIR *dir)
{
    if (FALLS("readdir", 0, EIO))
        return NULL;
    return NEXT(readdir64)(dir);
}

/*
 * Locks and copies of descriptors; what only asks, and what gives a lock back, has nothing to fail
 * for.
 */
int fcntl64(int fd, int what, ...)
{
    va_list rest;
    void *value;

    va_start(rest, what);
    value = va_arg(rest, void *); /* all that there is after it is of a word's size */
    va_end(rest);
    if (what == F_SETLK && ((const struct flock *)value)->l_type != F_UNLCK) {
        if (FALLS("lock", 0, EINTR, EAGAIN, EIO, ENOLCK, EACCES))
            return -1;
    } else if (what == F_DUPFD_CLOEXEC && FALLS("dup", 0, EMFILE)) {
        return -1;
    }
    return NEXT(fcntl64)(fd, what, value);
}

int flock(int fd, int how)
{
    if (how != LOCK_UN && FALLS("flock", 0, EINTR, EWOULDBLOCK, ENOLCK))
        return -1;
    return NEXT(flock)(fd, how);
}

int fstat64(int fd, struct stat64 *out)
{
    if (FALLS("fstat", 0, EIO, ENOMEM))
        return -1;
    return NEXT(fstat64)(fd, out);
}

int stat64(const char *path, struct stat64 *out)
{
    if (FALLS("stat", 0, EIO, ENOMEM))
        return -1;
    return NEXT(stat64)(path, out);
}

void *mmap64(void *at, size_t n, int protection, int flags, int fd, off64_t from)
{
    if (fd >= 0 && FALLS("mmap", 0, ENOMEM, EAGAIN, ENFILE))
        return MAP_FAILED;
    return NEXT(mmap64)(at, n, protection, flags, fd, from);
}

int poll(struct pollfd *fds, nfds_t n, int ms)
{
    if (FALLS("poll", 0, EINTR, ENOMEM))
        return -1;
    return NEXT(poll)(fds, n, ms);
}

int fsync(int fd)
{
    if (FALLS("fsync", 0, EIO, ENOSPC))
        return -1;
    return NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
    if (FALLS("fdatasync", 0, EIO, ENOSPC))
        return -1;
    return NEXT(fdatasync)(fd);
}

int ftruncate(int fd, off_t n)
{
    if (FALLS("ftruncate", 0, EIO, EINTR))
        return -1;
    return NEXT(ftruncate)(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    return ftruncate(fd, n);
}

int fstatvfs(int fd, struct statvfs *out)
{
    if (FALLS("fstatvfs", 0, EIO))
        return -1;
    return NEXT(fstatvfs)(fd, out);
}

int fstatvfs64(int fd, struct statvfs64 *out)
{
    if (FALLS("fstatvfs", 0, EIO))
        return -1;
    return NEXT(fstatvfs64)(fd, out);
}

int lstat64(const char *path, struct stat64 *out)
{
    if (FALLS("lstat", 0, EIO, ENOMEM))
        return -1;
    return NEXT(lstat64)(path, out);
}

int fstatat64(int dir, const char *path, struct stat64 *out, int flags)
{
    if (FALLS("fstatat", 0, EIO, ENOMEM))
        return -1;
    return NEXT(fstatat64)(dir, path, out, flags);
}

int mkdir(const char *path, mode_t mode)
{
    if (FALLS("mkdir", 0, EIO, ENOSPC, EACCES))
        return -1;
    return NEXT(mkdir)(path, mode);
}

int link(const char *from, const char *to)
{
    if (FALLS("link", 0, EIO, ENOSPC))
        return -1;
    return NEXT(link)(from, to);
}

int eventfd(unsigned count, int flags)
{
    if (FALLS("eventfd", 0, EMFILE, ENOMEM))
        return -1;
    return NEXT(eventfd)(count, flags);
}

/* It says what failed, and sets no errno. */
int pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *), void *arg)
{
    if (FALLS("pthread_create", 0, EAGAIN))
        return EAGAIN;
    return NEXT(pthread_create)(out, how, run, arg);
}

int rename(const char *from, const char *to)
{
    if (FALLS("rename", 0, EIO, ENOSPC))
        return -1;
    return NEXT(rename)(from, to);
}

int unlinkat(int dir, const char *path, int flags)
{
    if (FALLS("unlinkat", 0, EIO))
        return -1;
    return NEXT(unlinkat)(dir, path, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    if (FALLS("renameat", 0, EIO, ENOSPC))
        return -1;
    return NEXT(renameat)(from_dir, from, to_dir, to);
}

int unlink(const char *path)
{
    if (FALLS("unlink", 0, EIO))
        return -1;
    return NEXT(unlink)(path);
}
