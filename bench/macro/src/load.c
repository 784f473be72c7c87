/* The load generator of the macro benches: N connections, each sends its next request when its answer is complete.
 *
 *     load --port P --body FILE [--body FILE ...] [options]      prints one JSON object
 *
 * A body file holds the text "id=0000000000@@"; its digits become the number of the request, so that no two are equal.
 * Connection i takes file i modulo their number.  All times are in microseconds.
 *
 * Rule: an answer counts as ok only if its status is 200 and its end mark was seen; everything else is an error by name.
 */
#include "load_options.h"

#include <sys/uio.h>

#define TICK 50000 /* slow readers read this often */
#define CARRY 64

typedef struct {
    uint32_t *at;
    size_t n, room;
} Samples;

enum { NEW, CONNECTING, SENDING, HEAD, BODY };
enum { E_CONNECT, E_STATUS, E_CLOSED, E_UNFINISHED, E_EVENT, E_TIMEOUT, ERRORS };
static const char *const ERROR_NAMES[ERRORS] = {"connect", "status", "closed", "no_end", "error_event", "timeout"};

typedef struct {
    int fd, state, index;
    uint32_t id;
    uint32_t watched;
    bool fresh; /* not one answer yet on this connection */
    const Request *request;
    char digits[24];
    size_t sent;
    int64_t began, last, moved; /* request sent, payload read, anything happened */
    Bytes head;
    int status;
    bool stream, chunked, closes, ended, failed;
    int64_t left;        /* of the body or the chunk; -1: until the connection ends */
    int framing;         /* 0 data, 1 size line, 2 end of chunk, 3 trailer */
    char line[32];       /* the size line */
    int line_size;
    char carry[CARRY];   /* end of the payload before this one: marks may be cut */
    size_t carried;
    uint64_t chunks;
} Conn;

static int loop_fd;
static Conn *conns;
static Samples latency, ttfb, gaps;
static uint64_t sent, ok, errors[ERRORS], left, chunks, bytes, whole_answers, streams;
static int busy, opened;
static bool stopping;
static int status_seen;
static int sights = -1;
static Sight sighted[SIGHTS]; /* since the last batch of events: told in one write */
static int sighted_n;

static void note(Samples *s, int64_t us) {
    if (s->n == s->room) s->at = grown(s->at, sizeof *s->at * (s->room = s->room * 2 + 4096));
    s->at[s->n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void begin(Conn *c);

static void disconnect(Conn *c, bool reset) {
    struct linger at_once = {1, 0};
    if (reset) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->watched = 0;
}

/* Ends the request; the connection goes on if it may. */
static void over(Conn *c, int error, bool keep) {
    int64_t now = now_us();
    if (error < 0) {
        ok++;
        note(&latency, now - c->began);
    } else if (error < ERRORS) {
        errors[error]++;
        if (error == E_STATUS) status_seen = c->status;
    } else {
        left++;
    }
    chunks += c->chunks;
    if (c->stream) streams++;
    else whole_answers++;
    busy--;
    c->state = NEW;
    if (!keep) disconnect(c, error >= 0);
    begin(c);
}

static void interest(Conn *c, uint32_t events) {
    if (o.read_rate && events == EPOLLIN) events = 0; /* read by the tick */
    if (events == c->watched && c->watched) return;
    watch(loop_fd, c->fd, c, events, EPOLL_CTL_MOD);
    c->watched = events;
}

static void transmit(Conn *c) {
    const Bytes *before = &c->request->before, *after = &c->request->after;
    size_t total = before->size + DIGITS + after->size;
    while (c->sent < total) {
        struct iovec parts[3] = {{before->at, before->size}, {c->digits, DIGITS}, {after->at, after->size}};
        size_t skip = c->sent;
        int first = 0;
        while (first < 3 && skip >= parts[first].iov_len) skip -= parts[first++].iov_len;
        parts[first].iov_base = (char *)parts[first].iov_base + skip;
        parts[first].iov_len -= skip;
        ssize_t n = writev(c->fd, parts + first, 3 - first);
        if (n < 0) {
            if (errno == EAGAIN) interest(c, EPOLLOUT);
            else over(c, E_CLOSED, false);
            return;
        }
        c->sent += (size_t)n;
    }
    c->state = HEAD;
    interest(c, EPOLLIN);
}

/* The next request on this connection, if there is to be one. */
static void begin(Conn *c) {
    if (stopping || (int64_t)sent >= o.requests) {
        if (c->fd >= 0) disconnect(c, false);
        return;
    }
    int64_t number = o.same ? o.first_id : o.first_id + (int64_t)sent;
    c->id = (uint32_t)number;
    snprintf(c->digits, sizeof c->digits, "%0*lld", DIGITS, (long long)number);
    sent++;
    busy++;
    c->sent = c->head.size = c->carried = 0;
    c->status = c->line_size = c->framing = 0;
    c->stream = c->chunked = c->closes = c->ended = c->failed = false;
    c->chunks = 0;
    c->left = -1;
    c->began = c->moved = now_us();
    c->last = 0;
    if (c->fd >= 0) {
        c->fresh = false;
        c->state = SENDING;
        transmit(c);
        return;
    }
    struct sockaddr_in address = loopback(o.port);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    no_delay(c->fd);
    int small = 4096;
    if (o.read_rate) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    c->fresh = true;
    c->state = CONNECTING;
    watch(loop_fd, c->fd, c, EPOLLOUT, EPOLL_CTL_ADD);
    c->watched = EPOLLOUT;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) over(c, E_CONNECT, false);
}

/* How often `mark` begins in carry + data and ends in data. */
static int marks(const Conn *c, const char *mark, const char *data, size_t size) {
    size_t length = strlen(mark), take = c->carried < length - 1 ? c->carried : length - 1;
    int found = 0;
    if (take) {
        char seam[2 * CARRY];
        size_t more = size < length - 1 ? size : length - 1;
        memcpy(seam, c->carry + c->carried - take, take);
        memcpy(seam + take, data, more);
        found += memmem(seam, take + more, mark, length) != NULL;
    }
    for (const char *at = data, *end = data + size; (at = memmem(at, (size_t)(end - at), mark, length)); at += length) found++;
    return found;
}

static void payload(Conn *c, const char *data, size_t size) {
    c->chunks += (uint64_t)marks(c, o.chunk_mark, data, size);
    if (c->stream) {
        if (marks(c, o.end_mark, data, size)) c->ended = true;
        if (marks(c, o.error_mark, data, size)) c->failed = true;
    } else if (marks(c, "\"usage\"", data, size)) {
        c->ended = true;
    }
    if (size >= CARRY) {
        memcpy(c->carry, data + size - CARRY, CARRY);
        c->carried = CARRY;
    } else {
        size_t kept = c->carried + size > CARRY ? CARRY - size : c->carried;
        memmove(c->carry, c->carry + c->carried - kept, kept);
        memcpy(c->carry + kept, data, size);
        c->carried = kept + size;
    }
}

/* Body bytes as they came; true when the body is complete. */
static bool body(Conn *c, const char *at, size_t size) {
    if (!c->chunked) {
        payload(c, at, size);
        if (c->left >= 0) c->left -= (int64_t)size;
        return c->left == 0;
    }
    for (const char *end = at + size; at < end;) {
        if (c->framing == 0) {
            size_t take = (int64_t)(end - at) < c->left ? (size_t)(end - at) : (size_t)c->left;
            payload(c, at, take);
            at += take;
            if (!(c->left -= (int64_t)take)) c->framing = 2;
        } else if (*at++ == '\n') {
            if (c->framing == 2) {
                c->framing = 1;
            } else if (c->framing == 1) {
                c->line[c->line_size] = 0;
                c->left = strtol(c->line, NULL, 16);
                c->framing = c->left ? 0 : 3;
                c->line_size = 0;
            } else if (c->line_size == 0) {
                return true; /* the empty line after the last chunk */
            } else {
                c->line_size = 0;
            }
        } else if (at[-1] != '\r' && c->framing != 2 && c->line_size < (int)sizeof c->line - 1) {
            c->line[c->line_size++] = at[-1];
        }
    }
    return false;
}

static void tell(void) {
    if (sighted_n && write(sights, sighted, sizeof *sighted * (size_t)sighted_n) < 0 && errno != EAGAIN) die("sights");
    sighted_n = 0;
}

static void finished(Conn *c) {
    int error = c->status != 200 ? E_STATUS : c->failed ? E_EVENT : !c->ended ? E_UNFINISHED : -1;
    over(c, error, !c->closes);
}

static char *field(Conn *c, const char *name) {
    char *at = strcasestr(c->head.at, name);
    return at ? at + strlen(name) + strspn(at + strlen(name), " ") : NULL;
}

/* True when the body may begin at `*rest`. */
static bool head(Conn *c, const char *data, size_t size, size_t *rest) {
    size_t before = c->head.size;
    put(&c->head, data, size);
    char *end = memmem(c->head.at, c->head.size, "\r\n\r\n", 4);
    if (!end) return false;
    *end = 0;
    *rest = (size_t)(end - c->head.at) + 4 - before;
    c->status = c->head.size > 12 ? atoi(c->head.at + 9) : 0;
    char *type = field(c, "\r\ncontent-type:"), *length = field(c, "\r\ncontent-length:"), *keep = field(c, "\r\nconnection:");
    c->stream = type && !strncasecmp(type, "text/event-stream", 17);
    c->chunked = field(c, "\r\ntransfer-encoding:") != NULL;
    c->closes = keep && !strncasecmp(keep, "close", 5);
    c->left = c->chunked ? 0 : length ? strtoll(length, NULL, 10) : -1;
    c->framing = c->chunked ? 1 : 0;
    c->state = BODY;
    return true;
}

/* Reads up to `limit` bytes; false when there is nothing more to do with this connection now. */
static void readable(Conn *c, size_t limit) {
    static char block[1 << 18];
    ssize_t n = recv(c->fd, block, limit < sizeof block ? limit : sizeof block, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        if (c->state == BODY && !c->chunked && c->left < 0 && n == 0) {
            c->closes = true;
            finished(c);
        } else {
            over(c, E_CLOSED, false);
        }
        return;
    }
    int64_t now = now_us();
    c->moved = now;
    bytes += (uint64_t)n;
    size_t rest = 0;
    if (c->state == HEAD) {
        if (!c->head.size) note(&ttfb, now - c->began);
        if (!head(c, block, (size_t)n, &rest)) return;
    }
    if ((size_t)n > rest) {
        if (c->stream && c->last) note(&gaps, now - c->last);
        c->last = now;
    }
    bool complete = c->left == 0 && !c->chunked;
    if ((size_t)n > rest) complete = body(c, block + rest, (size_t)n - rest);
    if (sights >= 0 && c->stream && !complete) {
        sighted[sighted_n++] = (Sight){c->id, (uint32_t)c->chunks};
        if (sighted_n == SIGHTS) tell();
    }
    if (complete) finished(c);
    else if (o.close_after && c->chunks >= (uint64_t)o.close_after) over(c, ERRORS, false);
}

static void connected(Conn *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        over(c, E_CONNECT, false);
        return;
    }
    c->state = SENDING;
    c->began = now_us(); /* the wait for the connection is not the answer's */
    transmit(c);
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, Samples *s) {
    qsort(s->at, s->n, sizeof *s->at, ascending);
#define AT(p) (s->n ? s->at[(size_t)((double)(s->n - 1) * (p))] : 0)
    printf("\"%s\":{\"n\":%zu,\"p50\":%u,\"p90\":%u,\"p99\":%u,\"max\":%u},", name, s->n, AT(.5), AT(.9), AT(.99), AT(1));
}

/* Once per turn: connections that are due to start, slow reads, timeouts, the end. */
static void tick(int64_t start, int64_t *next_look) {
    int64_t now = now_us();
    if (o.seconds && now - start >= o.seconds) stopping = true;
    while (opened < o.connections && now - start >= o.ramp * opened / o.connections) begin(&conns[opened++]);
    if (now < *next_look) return;
    *next_look = now + TICK;
    for (int i = 0; i < opened; i++) {
        Conn *c = &conns[i];
        if (c->state == NEW) continue;
        if (stopping && o.cut) over(c, ERRORS, false);
        else if (o.read_rate && c->state >= HEAD) readable(c, (size_t)(o.read_rate * TICK / 1000000 + 1));
        else if (now - c->moved > o.timeout) over(c, E_TIMEOUT, false);
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    options(argc, argv);
    loop_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)o.connections, sizeof *conns);
    if (!conns) die("memory");
    for (int i = 0; i < o.connections; i++) conns[i] = (Conn){.fd = -1, .index = i, .request = &o.requests_of[i % o.requests_n]};
    if (o.sights && (sights = open(o.sights, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0) die(o.sights);
    struct epoll_event events[256];
    int64_t start = now_us(), next_look = start + TICK;
    tick(start, &next_look);
    while (busy || (opened < o.connections && !stopping && (int64_t)sent < o.requests)) {
        int n = epoll_wait(loop_fd, events, 256, opened < o.connections ? 1 : TICK / 1000);
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (c->state == CONNECTING) connected(c);
            else if (c->state == SENDING) transmit(c);
            else if (c->state != NEW && !o.read_rate) readable(c, SIZE_MAX);
        }
        tell();
        tick(start, &next_look);
    }
    printf("{\"seconds\":%.6f,\"sent\":%lu,\"ok\":%lu,\"left\":%lu,\"errors\":{", (double)(now_us() - start) / 1e6, sent, ok, left);
    for (int i = 0, n = 0; i < ERRORS; i++)
        if (errors[i]) printf("%s\"%s\":%lu", n++ ? "," : "", ERROR_NAMES[i], errors[i]);
    printf("},\"last_bad_status\":%d,\"chunks\":%lu,\"streams\":%lu,\"bytes\":%lu,", status_seen, chunks, streams, bytes);
    print_samples("latency", &latency);
    print_samples("ttfb", &ttfb);
    print_samples("gap", &gaps);
    printf("\"cpu_s\":%.6f}\n", cpu_s());
    return 0;
}
