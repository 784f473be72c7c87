/* What both tools share: a clock, growing arrays, sockets that never wait.  Rule: nothing here knows a scenario. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem, accept4 */
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Microseconds of a clock that only goes forward. */
static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void *grown(void *at, size_t size) {
    at = realloc(at, size);
    if (!at) die("memory");
    return at;
}

/* Bytes that grow. */
typedef struct {
    char *at;
    size_t size, room;
} Bytes;

static void put(Bytes *b, const void *from, size_t size) {
    if (b->size + size > b->room) {
        b->room = (b->size + size) * 2;
        b->at = grown(b->at, b->room);
    }
    memcpy(b->at + b->size, from, size);
    b->size += size;
}

__attribute__((unused)) static void put_text(Bytes *b, const char *text) { put(b, text, strlen(text)); }

__attribute__((format(printf, 2, 3))) static void put_format(Bytes *b, const char *format, ...) {
    char line[4096];
    va_list given;
    va_start(given, format);
    int size = vsnprintf(line, sizeof line, format, given);
    va_end(given);
    if (size < 0 || (size_t)size >= sizeof line) die("line too long");
    put(b, line, (size_t)size);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

#define SIGHTS 512 /* in one write: pipes keep 4096 bytes together */

/* What the load generator tells the upstream of a stream: request `id` has shown its client `chunks` chunks so far. */
typedef struct {
    uint32_t id, chunks;
} Sight;

static void watch(int loop, int fd, void *who, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = who};
    if (epoll_ctl(loop, how, fd, &event) < 0 && how != EPOLL_CTL_DEL) die("epoll_ctl");
}
#endif
