/* The upstream of the macro benches: Chat Completions, Responses and Messages from memory, on one thread.
 *
 *     upstream [PORT [SIGHTS]]      prints {"port": N}; 0 or nothing takes any free port
 *
 * What to answer stands in the request: the text "@@bench kind=text n=200 pace=50 id=0000000042@@" anywhere in the
 * body asks for 200 chunks, 50 ms apart (0: as fast as they are taken; a whole answer waits for `pace` ms).  kind is
 * text, burst (text again, each chunk written when the client has the one before) or tool (n: characters of arguments,
 * in pieces of 20).  "stream":true decides whether it is streamed.
 *
 * That a client has a chunk, the load generator tells through the named pipe SIGHTS.  Nothing else would do: chunks that
 * are written freely are read by eights or by forties, as the scheduler likes, so that a "write per chunk" measures it.
 * A subject that keeps a chunk to itself gets the next one after HOLD all the same, and may from then on be so much
 * behind; those are counted as `unseen`.
 *
 * GET /bench tells what was served since POST /bench, GET /v1/models lists one model.
 *
 * Rule: one chunk per write when paced or burst, one write for everything when not, and nothing is computed twice.
 */
#include "answers.h"

#define SEEN (1 << 24)
#define BURSTS (1 << 16)
#define HOLD 50000 /* us */

typedef struct Conn {
    int fd;
    bool writing; /* waits for the socket to take more */
    bool answering;
    Bytes in;
    const Answer *answer;
    size_t sent;
    int piece;   /* the last one that is due */
    uint32_t id; /* of a burst: of its request, else 0 */
    int ahead;   /* of a burst: pieces that need not be seen before the next */
    int64_t due, pace;
    int slot; /* in the heap; -1: not there */
} Conn;

static int loop_fd;
static Conn **heap;
static int heaped, heap_room;
static uint8_t seen[SEEN / 8];
static Conn *bursts[BURSTS]; /* by id */
static struct {
    uint64_t requests, streams, per_api[APIS], unmarked, repeated, left, finished, unseen;
    int open, peak;
} counts;

/* The heap of streams that wait for their next piece, earliest first. */

static void place(int slot, Conn *c) {
    heap[slot] = c;
    c->slot = slot;
}

static void sift(int slot, Conn *c) {
    while (slot > 0 && heap[(slot - 1) / 2]->due > c->due) {
        place(slot, heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    for (int child; (child = 2 * slot + 1) < heaped; slot = child) {
        if (child + 1 < heaped && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= c->due) break;
        place(slot, heap[child]);
    }
    place(slot, c);
}

static void wait_for(Conn *c, int64_t due) {
    c->due = due;
    if (c->slot < 0) {
        if (heaped == heap_room) heap = grown(heap, sizeof *heap * (size_t)(heap_room = heap_room * 2 + 64));
        c->slot = heaped++;
    }
    sift(c->slot, c);
}

static void wait_no_more(Conn *c) {
    if (c->slot < 0) return;
    Conn *last = heap[--heaped];
    if (last != c) sift(c->slot, last);
    c->slot = -1;
}

static void no_burst(Conn *c) {
    if (c->id && bursts[c->id % BURSTS] == c) bursts[c->id % BURSTS] = NULL;
    c->id = 0;
}

static void drop(Conn *c) {
    if (c->answering) {
        counts.left++;
        counts.open--;
    }
    wait_no_more(c);
    no_burst(c);
    close(c->fd);
    free(c->in.at);
    free(c);
}

/* Writes what is due; false when the connection is gone. */
static bool flush(Conn *c) {
    size_t end = c->answer->ends[c->piece];
    while (c->sent < end) {
        ssize_t n = send(c->fd, c->answer->all.at + c->sent, end - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) {
                drop(c);
                return false;
            }
            if (!c->writing) watch(loop_fd, c->fd, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            c->writing = true;
            return true;
        }
        c->sent += (size_t)n;
    }
    if (c->writing) {
        watch(loop_fd, c->fd, c, EPOLLIN, EPOLL_CTL_MOD);
        c->writing = false;
    }
    if (c->piece == c->answer->pieces - 1) {
        c->answering = false;
        counts.open--;
        counts.finished++;
    }
    return true;
}

static void next_piece(Conn *c) {
    c->piece++;
    if (c->piece < c->answer->pieces - 1) wait_for(c, c->due + c->pace);
    else wait_no_more(c);
    if (!c->writing) flush(c);
}

/* The clients have more chunks: those of bursts that waited for it get their next one.  Piece n ends with delta n. */
static void sighted(int pipe) {
    Sight told[SIGHTS];
    ssize_t size = read(pipe, told, sizeof told);
    for (ssize_t i = 0; i < size / (ssize_t)sizeof *told; i++) {
        Conn *c = bursts[told[i].id % BURSTS];
        if (!c || c->id != told[i].id || !c->answering || c->writing || (int)told[i].chunks + c->ahead < c->piece)
            continue;
        c->due = now_us();
        next_piece(c);
    }
}

static bool has(const Bytes *in, size_t at, const char *what) {
    return memmem(in->at + at, in->size - at, what, strlen(what)) != NULL;
}

static void begin(Conn *c, int api, size_t body) {
    char kind[8] = "text";
    int n = 20, pace = 0;
    unsigned long id = 0;
    char *mark = memmem(c->in.at + body, c->in.size - body, "@@bench ", 8);
    if (!mark || sscanf(mark, "@@bench kind=%7s n=%d pace=%d id=%lu@@", kind, &n, &pace, &id) != 4) counts.unmarked++;
    else if (seen[id % SEEN / 8] & 1 << id % 8) counts.repeated++;
    seen[id % SEEN / 8] |= (uint8_t)(1 << id % 8);
    bool stream = has(&c->in, body, "\"stream\":true") || has(&c->in, body, "\"stream\": true");
    c->in.size = 0; /* nobody pipelines */
    if (n < 1 || n > 1000000) n = 20;
    c->answer = answer_for(api, !stream ? WHOLE : strcmp(kind, "tool") ? TEXT : TOOL, n);
    c->sent = 0;
    c->answering = true;
    c->pace = (int64_t)pace * 1000;
    counts.requests++;
    counts.per_api[api]++;
    counts.streams += stream;
    if (++counts.open > counts.peak) counts.peak = counts.open;
    c->piece = -1;
    no_burst(c);
    if (stream && !strcmp(kind, "burst")) {
        c->id = (uint32_t)id;
        bursts[c->id % BURSTS] = c;
        c->pace = HOLD;
        c->ahead = 0;
        c->due = now_us();
        c->piece = 0; /* the head comes with the first delta: no client sees it by itself */
        next_piece(c);
    } else if (!pace) {
        c->piece = c->answer->pieces - 1;
        flush(c);
    } else if (stream) {
        c->due = now_us();
        next_piece(c);
    } else {
        wait_for(c, now_us() + c->pace);
    }
}

static void say(Conn *c, const char *status, const char *body) {
    char all[2048];
    int size = snprintf(all, sizeof all, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                        status, strlen(body), body);
    if (send(c->fd, all, (size_t)size, MSG_NOSIGNAL) < 0) perror("send");
}

static void told(Conn *c) {
    char body[1024];
    snprintf(body, sizeof body,
             "{\"requests\":%lu,\"streams\":%lu,\"chat\":%lu,\"responses\":%lu,\"messages\":%lu,\"unmarked\":%lu,"
             "\"repeated\":%lu,\"left\":%lu,\"finished\":%lu,\"unseen\":%lu,\"open\":%d,\"peak\":%d,\"cpu_s\":%.6f}",
             counts.requests, counts.streams, counts.per_api[CHAT], counts.per_api[RESPONSES], counts.per_api[MESSAGES],
             counts.unmarked, counts.repeated, counts.left, counts.finished, counts.unseen, counts.open, counts.peak, cpu_s());
    say(c, "200 OK", body);
}

static void forget(void) {
    int open = counts.open;
    memset(&counts, 0, sizeof counts);
    memset(seen, 0, sizeof seen);
    counts.open = counts.peak = open;
}

/* Serves the request in `in`, if it is whole. */
static void served(Conn *c) {
    static const struct {
        const char *path;
        int api;
    } PATHS[] = {{"/chat/completions ", CHAT}, {"/responses ", RESPONSES}, {"/messages ", MESSAGES}, {"/messages?", MESSAGES}};
    char *end = memmem(c->in.at, c->in.size, "\r\n\r\n", 4);
    if (!end) return;
    size_t body = (size_t)(end - c->in.at) + 4, length = 0;
    *end = 0;
    char *field = strcasestr(c->in.at, "\r\ncontent-length:"), *line = strchr(c->in.at, '\r');
    if (field) length = strtoul(field + 17, NULL, 10);
    bool chunked = strcasestr(c->in.at, "\r\ntransfer-encoding:") != NULL;
    *end = '\r';
    if (chunked ? !has(&c->in, body, "\r\n0\r\n\r\n") : c->in.size < body + length) return;
    if (line) *line = 0; /* the request line alone */
    int api = -1;
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++)
        if (!strncmp(c->in.at, "POST", 4) && strstr(c->in.at, PATHS[i].path)) api = PATHS[i].api;
    if (api < 0) {
        if (!strncmp(c->in.at, "GET /bench", 10)) told(c);
        else if (!strncmp(c->in.at, "POST /bench", 11)) forget(), told(c);
        else if (strstr(c->in.at, "/models "))
            say(c, "200 OK", "{\"object\":\"list\",\"data\":[{\"id\":\"bench-model\",\"object\":\"model\",\"created\":"
                             "1770000000,\"owned_by\":\"bench\"}]}");
        else if (strstr(c->in.at, "/health ")) say(c, "200 OK", "{}");
        else say(c, "404 Not Found", "{\"error\":{\"message\":\"not here\",\"type\":\"not_found_error\"}}");
        c->in.size = 0;
        return;
    }
    begin(c, api, body);
}

static void heard(Conn *c) {
    char block[1 << 16];
    for (;;) {
        ssize_t n = recv(c->fd, block, sizeof block, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            drop(c);
            return;
        }
        put(&c->in, block, (size_t)n);
        if ((size_t)n < sizeof block) break;
    }
    if (!c->answering) served(c);
}

static void accepted(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        Conn *c = calloc(1, sizeof *c);
        if (!c) die("memory");
        c->fd = fd;
        c->slot = -1;
        no_delay(fd);
        watch(loop_fd, fd, c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = loopback(argc > 1 ? atoi(argv[1]) : 0);
    socklen_t size = sizeof address;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 4096) < 0) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    loop_fd = epoll_create1(EPOLL_CLOEXEC);
    int sights = argc > 2 ? open(argv[2], O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1; /* a writer too: it never ends */
    if (argc > 2 && sights < 0) die(argv[2]);
    if (sights >= 0) watch(loop_fd, sights, &sights, EPOLLIN, EPOLL_CTL_ADD);
    watch(loop_fd, listener, NULL, EPOLLIN, EPOLL_CTL_ADD);
    struct epoll_event events[256];
    for (;;) {
        int wait = -1;
        if (heaped) {
            int64_t left = heap[0]->due - now_us();
            wait = left <= 0 ? 0 : (int)((left + 999) / 1000);
        }
        int n = epoll_wait(loop_fd, events, 256, wait);
        bool told = false;
        for (int i = 0; i < n; i++) {
            Conn *c = events[i].data.ptr;
            if (!c) accepted(listener);
            else if (events[i].data.ptr == &sights) told = true;
            else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) heard(c);
            else flush(c);
        }
        if (told) sighted(sights); /* after the events: it may drop a connection that has one */
        for (int64_t now = now_us(); heaped && heap[0]->due <= now;) {
            if (heap[0]->id) heap[0]->ahead++, counts.unseen++;
            next_piece(heap[0]);
        }
    }
}
