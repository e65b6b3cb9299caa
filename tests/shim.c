/* Loaded before libc: makes the disk of a process slow and sets its clocks back, as the three numbers of a mapped file
   say: milliseconds that a flush takes, nanoseconds by which CLOCK_MONOTONIC is behind, seconds by which the wall clock
   is. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *knobs;

__attribute__((constructor)) static void map_knobs(void) {
    const char *path = getenv("SHIM_KNOBS");
    int file = path ? open(path, O_RDONLY) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, 3 * sizeof *knobs, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        knobs = mapped;
}

static void take_long(void) {
    if (knobs && knobs[0])
        usleep(knobs[0] * 1000);
}

int fsync(int file) {
    take_long();
    return syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    take_long();
    return syscall(SYS_fdatasync, file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_MONOTONIC && knobs) {
        long long ns = now->tv_sec * 1000000000LL + now->tv_nsec - knobs[1];
        now->tv_sec = ns / 1000000000;
        now->tv_nsec = ns % 1000000000;
    }
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) && knobs)
        now->tv_sec -= knobs[2];
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *told) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (told)
        *told = exact.tv_sec;
    return exact.tv_sec;
}
