/* What the load generator is asked to do.  Rule: everything is read once, before the first connection. */
#ifndef BENCH_LOAD_OPTIONS_H
#define BENCH_LOAD_OPTIONS_H
#include "common.h"

#include <getopt.h>

#define DIGITS 10

typedef struct {
    Bytes before, after; /* the digits */
} Request;

static struct {
    const char *path, *end_mark, *chunk_mark, *error_mark, *sights;
    int port, connections, close_after, requests_n;
    int64_t requests, seconds, ramp, timeout, read_rate, first_id;
    bool same, cut;
    Bytes headers;
    Request requests_of[16];
} o = {.path = "/v1/messages", .end_mark = "event: message_stop", .chunk_mark = "event: content_block_delta",
       .error_mark = "event: error", .connections = 1, .requests = INT64_MAX, .timeout = 30000000, .first_id = 1};

static Bytes file(const char *name) {
    Bytes b = {0};
    char block[65536];
    FILE *f = fopen(name, "rb");
    if (!f) die(name);
    for (size_t n; (n = fread(block, 1, sizeof block, f));) put(&b, block, n);
    fclose(f);
    return b;
}

static void options(int argc, char **argv) {
    static const struct option KNOWN[] = {
        {"port", 1, 0, 'p'}, {"path", 1, 0, 'P'}, {"body", 1, 0, 'b'}, {"connections", 1, 0, 'c'}, {"requests", 1, 0, 'n'},
        {"seconds", 1, 0, 's'}, {"ramp-ms", 1, 0, 'r'}, {"header", 1, 0, 'h'}, {"same", 0, 0, 'S'}, {"end-mark", 1, 0, 'e'},
        {"chunk-mark", 1, 0, 'C'}, {"error-mark", 1, 0, 'E'}, {"read-rate", 1, 0, 'R'}, {"close-after", 1, 0, 'k'},
        {"cut", 0, 0, 'x'}, {"timeout", 1, 0, 't'}, {"first-id", 1, 0, 'i'}, {"sights", 1, 0, 'g'}, {0}};
    const char *bodies[16];
    for (int c; (c = getopt_long(argc, argv, "", KNOWN, NULL)) != -1;) switch (c) {
        case 'p': o.port = atoi(optarg); break;
        case 'P': o.path = optarg; break;
        case 'b': if (o.requests_n < 16) bodies[o.requests_n++] = optarg; break;
        case 'c': o.connections = atoi(optarg); break;
        case 'n': o.requests = atoll(optarg); break;
        case 's': o.seconds = (int64_t)(atof(optarg) * 1e6); break;
        case 'r': o.ramp = atoll(optarg) * 1000; break;
        case 'h': put_format(&o.headers, "%s\r\n", optarg); break;
        case 'S': o.same = true; break;
        case 'x': o.cut = true; break; /* at the end nobody waits for open answers */
        case 'e': o.end_mark = optarg; break;
        case 'C': o.chunk_mark = optarg; break;
        case 'E': o.error_mark = optarg; break;
        case 'R': o.read_rate = atoll(optarg); break;
        case 'k': o.close_after = atoi(optarg); break;
        case 't': o.timeout = (int64_t)(atof(optarg) * 1e6); break;
        case 'i': o.first_id = atoll(optarg); break;
        case 'g': o.sights = optarg; break; /* the pipe to tell the upstream of chunks */
        default: exit(2);
        }
    if (!o.port || !o.requests_n || (!o.seconds && o.requests == INT64_MAX)) {
        fputs("load: --port, --body and one of --requests, --seconds are needed\n", stderr);
        exit(2);
    }
    for (int i = 0; i < o.requests_n; i++) {
        Bytes whole = file(bodies[i]);
        char *digits = memmem(whole.at, whole.size, "id=0000000000@@", 15);
        if (!digits) {
            fprintf(stderr, "load: %s has no id=0000000000@@\n", bodies[i]);
            exit(2);
        }
        digits += 3;
        Request *r = &o.requests_of[i];
        put_format(&r->before, "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n", o.path, o.port);
        put(&r->before, o.headers.at, o.headers.size);
        put_format(&r->before, "content-length: %zu\r\n\r\n", whole.size);
        put(&r->before, whole.at, (size_t)(digits - whole.at));
        put(&r->after, digits + DIGITS, whole.size - (size_t)(digits - whole.at) - DIGITS);
    }
}
#endif
