/*
 * Clocks that a test moves: preloaded into the product's programs (LD_PRELOAD), driven by chaos/clock.py.
 *
 * A control file that is mapped into every process (CLOCKSHIM_CONTROL) holds an offset for each clock and a rate, both
 * changed while the processes run, under a sequence lock. Every wait is made of slices of real time, at most SLICE_NS
 * long, so that a jump or another rate is felt at once. Without a control file, or with one that says "offset 0,
 * rate 1", everything is as without this library, but for the slices.
 *
 * Left alone: CPU clocks, start times in /proc, timestamps of files, timers of the kernel (timerfd, setitimer, alarm),
 * time-outs of sockets in the kernel (SO_RCVTIMEO): nothing of the product waits by these.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define SLICE_NS (20 * INT64_C(1000000))
/* Python's interpreter lock asks for its turn after 5 ms: scaled too, threads would do nothing but take turns. */
#define UNSCALED_NS (10 * INT64_C(1000000))
#define NEVER INT64_MAX
#define WEAK_SPINS 1000
#define PATIENT_SPINS 20000 /* 2 s at least */

/* chaos/clock.py has the same layout. */
struct control {
    uint64_t sequence; /* odd while it is being written */
    int64_t wall_ns, monotonic_ns, boot_ns;
    int64_t base_ns; /* real CLOCK_MONOTONIC at which `rate` took effect */
    double rate;
};

static const volatile struct control *control;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
static int (*real_pselect)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *);
static int (*real_epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
static int (*real_sem_clockwait)(sem_t *, clockid_t, const struct timespec *);
static int (*real_cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find(void) {
    real_ppoll = dlsym(RTLD_NEXT, "ppoll");
    real_pselect = dlsym(RTLD_NEXT, "pselect");
    real_epoll_pwait = dlsym(RTLD_NEXT, "epoll_pwait");
    real_sem_clockwait = dlsym(RTLD_NEXT, "sem_clockwait");
    real_cond_clockwait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CLOCKSHIM_CONTROL");
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped != MAP_FAILED)
        control = mapped;
}

/* A constructor runs too late for those of other libraries, so every entry asks. */
static void set_up(void) { pthread_once(&once, find); }

/* ---- reading clocks ---------------------------------------------------------------------------------------------- */

static int64_t real_ns(clockid_t clock) {
    struct timespec now = {0, 0};
    real_gettime(clock, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static struct timespec spec_of(int64_t ns) {
    return (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
}

static int64_t ns_of(const struct timespec *spec) {
    return spec->tv_sec > NEVER / SECOND - 1 ? NEVER : spec->tv_sec * SECOND + spec->tv_nsec;
}

static int64_t offset_of(const struct control *seen, clockid_t clock) {
    switch (clock) {
    case CLOCK_REALTIME: case CLOCK_REALTIME_COARSE: case CLOCK_REALTIME_ALARM: case CLOCK_TAI:
        return seen->wall_ns;
    case CLOCK_BOOTTIME: case CLOCK_BOOTTIME_ALARM:
        return seen->boot_ns;
    default:
        return seen->monotonic_ns;
    }
}

static int is_moved(clockid_t clock) {
    return clock >= 0 && clock != CLOCK_PROCESS_CPUTIME_ID && clock != CLOCK_THREAD_CPUTIME_ID;
}

/* A moved clock's time in ns, and the rate it goes at. */
static int64_t fake_ns(clockid_t clock, double *rate) {
    *rate = 1;
    if (!control)
        return real_ns(clock);
    struct control seen;
    int64_t real = 0, steady = 0;
    /* The real clocks are read inside too: what is read by the old rate is earlier than the new one, so that no clock
     * goes back. A writer may be off its processor for long; one that died in the middle must not hang everybody. */
    for (int spins = 0; spins < WEAK_SPINS + PATIENT_SPINS; spins++) {
        uint64_t before = __atomic_load_n(&control->sequence, __ATOMIC_ACQUIRE);
        seen = (struct control){before, control->wall_ns, control->monotonic_ns, control->boot_ns, control->base_ns,
                                control->rate};
        real = real_ns(clock);
        steady = real_ns(CLOCK_MONOTONIC);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && __atomic_load_n(&control->sequence, __ATOMIC_RELAXED) == before)
            break;
        if (spins >= WEAK_SPINS) {
            struct timespec moment = {0, 100000};
            int error = errno;
            syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &moment, NULL);
            errno = error;
        }
    }
    *rate = seen.rate;
    int64_t since = steady > seen.base_ns ? steady - seen.base_ns : 0;
    return real + offset_of(&seen, clock) + (seen.rate == 1 ? 0 : (int64_t)(since * (seen.rate - 1)));
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    set_up();
    if (!control || !is_moved(clock))
        return real_gettime(clock, now);
    double rate;
    *now = spec_of(fake_ns(clock, &rate));
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    set_up();
    double rate;
    int64_t ns = fake_ns(CLOCK_REALTIME, &rate);
    *now = (struct timeval){.tv_sec = ns / SECOND, .tv_usec = ns % SECOND / 1000};
    if (zone)
        memset(zone, 0, sizeof(struct timezone));
    return 0;
}

time_t time(time_t *where) {
    set_up();
    double rate;
    time_t now = fake_ns(CLOCK_REALTIME, &rate) / SECOND;
    if (where)
        *where = now;
    return now;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

/* Fake ns until `deadline` (0: reached), and in `slice` the real time to wait before looking again. */
static int64_t left(clockid_t clock, int64_t deadline, struct timespec *slice) {
    double rate;
    int64_t now = fake_ns(clock, &rate), fake = deadline > now ? deadline - now : 0;
    double real = rate > 0 ? fake / rate : SLICE_NS;
    *slice = spec_of(real < SLICE_NS ? (int64_t)real + 1 : SLICE_NS);
    return fake;
}

static int64_t deadline_in(int64_t ns) {
    double rate;
    int64_t now = fake_ns(CLOCK_MONOTONIC, &rate);
    return ns < NEVER - now ? now + ns : NEVER;
}

/* Signals are let in during the kernel's wait only: one between two slices would run its handler and interrupt nothing. */
static void hold_signals(const sigset_t *wanted, sigset_t *mask, sigset_t *before) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
    *mask = wanted ? *wanted : *before;
}

static void release_signals(const sigset_t *before) {
    int error = errno;
    pthread_sigmask(SIG_SETMASK, before, NULL);
    errno = error;
}

static int poll_until(struct pollfd *fds, nfds_t count, clockid_t clock, int64_t deadline, const sigset_t *wanted) {
    sigset_t mask, before;
    struct timespec slice;
    int found;
    hold_signals(wanted, &mask, &before);
    do {
        int64_t fake = left(clock, deadline, &slice);
        if (!fake)
            slice = spec_of(0);
        found = real_ppoll(fds, count, &slice, &mask);
        if (!fake)
            break;
    } while (found == 0);
    release_signals(&before);
    return found;
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    set_up();
    if (!control || !timeout || (!timeout->tv_sec && !timeout->tv_nsec))
        return real_ppoll(fds, count, timeout, mask);
    return poll_until(fds, count, CLOCK_MONOTONIC, deadline_in(ns_of(timeout)), mask);
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    struct timespec timeout = spec_of(timeout_ms * INT64_C(1000000));
    return ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, NULL);
}

/* What glibc's headers make of poll and ppoll with _FORTIFY_SOURCE. */
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size) {
    (void)size;
    return poll(fds, count, timeout_ms);
}

int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t size) {
    (void)size;
    return ppoll(fds, count, timeout, mask);
}

int epoll_pwait(int epoll, struct epoll_event *events, int most, int timeout_ms, const sigset_t *wanted) {
    set_up();
    if (!control || timeout_ms <= 0)
        return real_epoll_pwait(epoll, events, most, timeout_ms, wanted);
    int64_t deadline = deadline_in(timeout_ms * INT64_C(1000000));
    struct timespec slice;
    for (;;) {
        /* an epoll descriptor is readable when it has events; this wait is finer than milliseconds */
        struct pollfd ready = {.fd = epoll, .events = POLLIN};
        int found = poll_until(&ready, 1, CLOCK_MONOTONIC, deadline, wanted);
        if (found > 0)
            found = real_epoll_pwait(epoll, events, most, 0, NULL);
        if (found || !left(CLOCK_MONOTONIC, deadline, &slice))
            return found;
    }
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout_ms) {
    return epoll_pwait(epoll, events, most, timeout_ms, NULL);
}

static int select_until(int count, fd_set *const sets[3], int64_t deadline, const sigset_t *wanted) {
    size_t bytes = ((size_t)(count > 0 ? count : 0) + 63) / 64 * 8; /* not sizeof(fd_set): callers may have larger ones */
    char copies[3][bytes ? bytes : 1];
    sigset_t mask, before;
    struct timespec slice;
    int found;
    for (int i = 0; i < 3; i++)
        if (sets[i])
            memcpy(copies[i], sets[i], bytes);
    hold_signals(wanted, &mask, &before);
    for (;;) {
        int64_t fake = left(CLOCK_MONOTONIC, deadline, &slice);
        if (!fake)
            slice = spec_of(0);
        found = real_pselect(count, sets[0], sets[1], sets[2], &slice, &mask);
        if (found || !fake)
            break;
        for (int i = 0; i < 3; i++) /* a slice that found nothing has emptied them */
            if (sets[i])
                memcpy(sets[i], copies[i], bytes);
    }
    release_signals(&before);
    return found;
}

int pselect(int count, fd_set *r, fd_set *w, fd_set *x, const struct timespec *timeout, const sigset_t *mask) {
    set_up();
    if (!control || !timeout || (!timeout->tv_sec && !timeout->tv_nsec))
        return real_pselect(count, r, w, x, timeout, mask);
    return select_until(count, (fd_set *const[3]){r, w, x}, deadline_in(ns_of(timeout)), mask);
}

int select(int count, fd_set *r, fd_set *w, fd_set *x, struct timeval *timeout) {
    if (!timeout)
        return pselect(count, r, w, x, NULL, NULL);
    set_up();
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0) {
        errno = EINVAL;
        return -1;
    }
    struct timespec wait = {timeout->tv_sec + timeout->tv_usec / 1000000, timeout->tv_usec % 1000000 * 1000}, slice;
    int64_t deadline = deadline_in(ns_of(&wait));
    int found = pselect(count, r, w, x, &wait, NULL), error = errno;
    int64_t fake = left(CLOCK_MONOTONIC, deadline, &slice); /* Linux says what was left */
    *timeout = (struct timeval){.tv_sec = fake / SECOND, .tv_usec = fake % SECOND / 1000};
    errno = error;
    return found;
}

/* ---- sleeping ---------------------------------------------------------------------------------------------------- */

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *rest) {
    set_up();
    if (wanted->tv_nsec < 0 || wanted->tv_nsec >= SECOND || wanted->tv_sec < 0)
        return EINVAL;
    if (!control || !is_moved(clock))
        return syscall(SYS_clock_nanosleep, clock, flags, wanted, rest) ? errno : 0;
    int absolute = flags & TIMER_ABSTIME;
    /* a relative sleep is not prolonged by a wall clock that is set back, whatever its clock */
    clockid_t by = absolute || clock != CLOCK_REALTIME ? clock : CLOCK_MONOTONIC;
    double rate;
    int64_t deadline = absolute ? ns_of(wanted) : fake_ns(by, &rate) + ns_of(wanted);
    if (deadline < 0)
        deadline = NEVER; /* overflow */
    int error = errno;
    if (poll_until(NULL, 0, by, deadline, NULL) == 0) {
        errno = error;
        return 0;
    }
    errno = error;
    struct timespec slice;
    if (rest && !absolute)
        *rest = spec_of(left(by, deadline, &slice));
    return EINTR;
}

int nanosleep(const struct timespec *wanted, struct timespec *rest) {
    int error = clock_nanosleep(CLOCK_REALTIME, 0, wanted, rest);
    errno = error ? error : errno;
    return error ? -1 : 0;
}

int usleep(useconds_t us) {
    struct timespec wanted = spec_of(us * INT64_C(1000));
    return nanosleep(&wanted, NULL);
}

unsigned int sleep(unsigned int seconds) {
    struct timespec wanted = spec_of(seconds * SECOND), rest = {0, 0};
    return nanosleep(&wanted, &rest) ? rest.tv_sec + (rest.tv_nsec > 0) : 0;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static struct timespec real_deadline(const struct timespec *slice) {
    return spec_of(real_ns(CLOCK_MONOTONIC) + ns_of(slice));
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
    set_up();
    if (!control)
        return real_sem_clockwait(semaphore, clock, until);
    for (;;) {
        struct timespec slice;
        int64_t fake = left(clock, ns_of(until), &slice);
        struct timespec end = real_deadline(&slice);
        if (!real_sem_clockwait(semaphore, CLOCK_MONOTONIC, &end))
            return 0;
        if (errno != ETIMEDOUT || !fake)
            return -1;
    }
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    return sem_clockwait(semaphore, CLOCK_REALTIME, until);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *until) {
    set_up();
    if (!control)
        return real_cond_clockwait(condition, mutex, clock, until);
    struct timespec slice;
    int64_t fake = left(clock, ns_of(until), &slice);
    if (fake && fake <= UNSCALED_NS)
        slice = spec_of(fake);
    struct timespec end = real_deadline(&slice);
    int error = real_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &end);
    if (error != ETIMEDOUT || fake <= UNSCALED_NS)
        return error;
    /* A wake-up without a reason, which every caller has to expect. Waiting on in here could miss a signal that was
     * sent between two slices. */
    return left(clock, ns_of(until), &slice) ? 0 : ETIMEDOUT;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    /* glibc keeps the clock that pthread_condattr_setclock chose in this bit; there is no question for it */
    clockid_t clock = condition->__data.__wrefs & 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    return pthread_cond_clockwait(condition, mutex, clock, until);
}
