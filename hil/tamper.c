/* Put before a program by LD_PRELOAD: its disk is slow and its clock is set as a file says.

   HIL_TAMPER names a file of 64 bytes (struct orders below, written by hil/tamper.py) that is
   mapped here and there; it may change at any time. Without it nothing is done. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL

struct orders {
    int64_t shift_ns;     /* how far the wall clock is ahead at since_ns */
    int64_t drift_ppb;    /* how much faster it runs */
    int64_t since_ns;     /* CLOCK_MONOTONIC */
    int64_t sync_ns;      /* how long each fsync and fdatasync takes besides */
    int64_t write_ns;     /* each write to a regular file */
    int64_t syncs;        /* counted here: what came back */
    int64_t longest_ns;   /* the longest fsync since the counters were emptied */
    int64_t writes;
};

static struct orders none;
static volatile struct orders *orders = &none;

static int (*next_gettime)(clockid_t, struct timespec *);
static int (*next_fsync)(int);
static int (*next_fdatasync)(int);
static ssize_t (*next_write)(int, const void *, size_t);
static ssize_t (*next_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*next_pwrite64)(int, const void *, size_t, off64_t);

static void find(void)
{
    next_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    next_fsync = dlsym(RTLD_NEXT, "fsync");
    next_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    next_write = dlsym(RTLD_NEXT, "write");
    next_pwrite = dlsym(RTLD_NEXT, "pwrite");
    next_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("HIL_TAMPER");
    find();
    if (path == NULL)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *found = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED)
        orders = found;
}

/* Others' constructors may run before ours. */
#define FOUND(next) do { if ((next) == NULL) find(); } while (0)

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;
    FOUND(next_gettime);
    next_gettime(clock, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int64_t ahead_ns(void)
{
    int64_t drift_ppb = orders->drift_ppb, ahead = orders->shift_ns;
    if (drift_ppb != 0)
        ahead += (int64_t)((double)(now_ns(CLOCK_MONOTONIC) - orders->since_ns) * drift_ppb / 1e9);
    return ahead;
}

static void wait_ns(int64_t ns)
{
    struct timespec t = {ns / NS_PER_S, ns % NS_PER_S};
    int kept = errno;
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
    errno = kept;
}

/* ------------------------------------------------------------------ the clock */

int clock_gettime(clockid_t clock, struct timespec *to)
{
    FOUND(next_gettime);
    int done = next_gettime(clock, to);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = to->tv_sec * NS_PER_S + to->tv_nsec + ahead_ns();
        to->tv_sec = ns / NS_PER_S;
        to->tv_nsec = ns % NS_PER_S;
    }
    return done;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone)
{
    int64_t ns = now_ns(CLOCK_REALTIME) + ahead_ns();
    (void)zone;
    to->tv_sec = ns / NS_PER_S;
    to->tv_usec = ns % NS_PER_S / 1000;
    return 0;
}

time_t time(time_t *to)
{
    time_t found = (now_ns(CLOCK_REALTIME) + ahead_ns()) / NS_PER_S;
    if (to != NULL)
        *to = found;
    return found;
}

/* ------------------------------------------------------------------ the disk */

static int synced(int (*next)(int), int fd)
{
    int64_t began = now_ns(CLOCK_MONOTONIC), slow = orders->sync_ns;
    int done = next(fd);
    if (slow > 0)
        wait_ns(slow);
    int64_t took = now_ns(CLOCK_MONOTONIC) - began;
    __atomic_fetch_add(&orders->syncs, 1, __ATOMIC_RELAXED);
    if (took > orders->longest_ns)
        orders->longest_ns = took;
    return done;
}

int fsync(int fd)
{
    FOUND(next_fsync);
    return synced(next_fsync, fd);
}

int fdatasync(int fd)
{
    FOUND(next_fdatasync);
    return synced(next_fdatasync, fd);
}

/* Standard output and error are the rig's own log, sockets and pipes no disk. */
static void before_write(int fd)
{
    struct stat seen;
    int64_t slow = orders->write_ns;
    if (slow <= 0 || fd <= STDERR_FILENO || fstat(fd, &seen) != 0 || !S_ISREG(seen.st_mode))
        return;
    __atomic_fetch_add(&orders->writes, 1, __ATOMIC_RELAXED);
    wait_ns(slow);
}

ssize_t write(int fd, const void *data, size_t size)
{
    FOUND(next_write);
    before_write(fd);
    return next_write(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    FOUND(next_pwrite);
    before_write(fd);
    return next_pwrite(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    FOUND(next_pwrite64);
    before_write(fd);
    return next_pwrite64(fd, data, size, at);
}
