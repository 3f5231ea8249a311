/*
 * Preloaded (LD_PRELOAD) into a redis-server to make its wall clock jump. Each reading is shifted
 * by the microseconds in the file CHAOS_SERVER_CLOCK, a 64-bit integer. The file is mapped, so a
 * jump takes effect at once. The monotonic clock is left alone.
 *
 * libfaketime would not do: its first call looks its symbols up, which allocates, and jemalloc
 * reads a clock while it starts. This file uses system calls alone.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none;
static volatile int64_t *shift;

static int64_t shift_us(void) {
  if (!shift) {
    const char *path = getenv("CHAOS_SERVER_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    shift = map == MAP_FAILED ? &none : map;
  }
  return *shift;
}

int clock_gettime(clockid_t id, struct timespec *at) {
  if (syscall(SYS_clock_gettime, id, at) != 0) return -1;
  if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) return 0;
  int64_t ns = at->tv_nsec + shift_us() % 1000000 * 1000;
  at->tv_sec += shift_us() / 1000000 + (ns >= 1000000000) - (ns < 0);
  at->tv_nsec = ns + (ns < 0 ? 1000000000 : 0) - (ns >= 1000000000 ? 1000000000 : 0);
  return 0;
}

int gettimeofday(struct timeval *at, void *zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
