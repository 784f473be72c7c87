/* Canned answers of the three APIs, rendered once and kept.
 *
 * Rule: an answer is one run of bytes, head and chunk framing included, and the places where a paced stream may pause.
 */
#ifndef BENCH_ANSWERS_H
#define BENCH_ANSWERS_H
#include "common.h"

enum { CHAT, RESPONSES, MESSAGES, APIS };
enum { WHOLE, TEXT, TOOL, KINDS };

typedef struct {
    int api, kind, n;
    Bytes all;
    size_t *ends; /* of the pieces */
    int pieces;
} Answer;

static const char *const WORDS[] = {" the",  " proxy", " translates", " every", " chunk", ",",    " and",     "\\n\\n",  " a",
                                    " list", ":",      "\\n- ",       " \\\"it\\\"", " na\u00efve", " 5",   " < 7",     ".",       " So",
                                    " on",   " until", " done",       ";",      " const", " x =", " f(y)",    "\\n\\t"};
#define WORD(i) WORDS[(size_t)(i) % (sizeof WORDS / sizeof *WORDS)]
#define ARGUMENT_PIECE 20 /* characters of a tool's arguments in one chunk */

#define SSE_HEAD \
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_bench\r\n" \
    "transfer-encoding: chunked\r\n\r\n"
#define CHAT_CHUNK \
    "data: {\"id\":\"chatcmpl-CbenchBenchBenchBenchBench01\",\"object\":\"chat.completion.chunk\"," \
    "\"created\":1770000000,\"model\":\"bench-model\",\"service_tier\":\"default\"," \
    "\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0,\"delta\":"
#define CHAT_REST ",\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"
#define CHAT_USAGE \
    "\"usage\":{\"prompt_tokens\":1200,\"completion_tokens\":%d,\"total_tokens\":%d," \
    "\"prompt_tokens_details\":{\"cached_tokens\":1024,\"audio_tokens\":0}," \
    "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}"
#define RESPONSE_OBJECT \
    "{\"id\":\"resp_bench0123456789\",\"object\":\"response\",\"created_at\":1770000000,\"status\":\"%s\"," \
    "\"error\":null,\"incomplete_details\":null,\"model\":\"bench-model\",\"output\":[%s],\"parallel_tool_calls\":true," \
    "\"store\":false,\"temperature\":1.0,\"tool_choice\":\"auto\",\"tools\":[],\"usage\":"
#define RESPONSE_USAGE \
    "{\"input_tokens\":1200,\"input_tokens_details\":{\"cached_tokens\":1024},\"output_tokens\":%d," \
    "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":%d}"
#define ITEM_TEXT \
    "{\"id\":\"msg_bench01\",\"type\":\"message\",\"status\":\"%s\",\"content\":[%s],\"role\":\"assistant\"}"
#define ITEM_TOOL \
    "{\"id\":\"fc_bench01\",\"type\":\"function_call\",\"status\":\"%s\",\"arguments\":\"%s\",\"call_id\":\"call_bench01\"," \
    "\"name\":\"Write\"}"
#define MESSAGE_HEAD \
    "{\"id\":\"msg_bench01\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench-model\",\"content\":[%s]," \
    "\"stop_reason\":%s,\"stop_sequence\":null,\"usage\":{\"input_tokens\":176,\"cache_creation_input_tokens\":0," \
    "\"cache_read_input_tokens\":1024,\"output_tokens\":%d}}"

static void escaped(Bytes *to, const char *from, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (from[i] == '"' || from[i] == '\\') put_text(to, "\\");
        put(to, from + i, 1);
    }
}

/* The raw arguments of a tool that writes a file: a JSON object of about `size` characters. */
static void arguments(Bytes *to, int size) {
    put_text(to, "{\"file_path\":\"/src/module.py\",\"content\":\"");
    for (int line = 0; (int)to->size < size - 2; line++)
        put_format(to, "def step_%d(x: int) -> str:\\n    return \\\"{x} of %d\\\"\\n", line, line * 7);
    put_text(to, "\"}");
}

/* SSE events since the last call become one piece: an HTTP chunk. */
static void piece(Answer *a, Bytes *events, bool last) {
    put_format(&a->all, "%zx\r\n", events->size);
    put(&a->all, events->at, events->size);
    put_text(&a->all, last ? "\r\n0\r\n\r\n" : "\r\n");
    events->size = 0;
    a->ends = grown(a->ends, sizeof *a->ends * (size_t)(a->pieces + 1));
    a->ends[a->pieces++] = a->all.size;
}

static void event(Bytes *e, int api, const char *name) {
    if (api != CHAT) put_format(e, "event: %s\ndata: {\"type\":\"%s\"", name, name);
}

static void first_piece(Answer *a, Bytes *e, bool tool) {
    if (a->api == CHAT) {
        put_text(e, CHAT_CHUNK "{\"role\":\"assistant\",");
        put_text(e, tool ? "\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"call_bench01\",\"type\":\"function\","
                           "\"function\":{\"name\":\"Write\",\"arguments\":\"\"}}],"
                         : "\"content\":\"\",");
        put_text(e, "\"refusal\":null}" CHAT_REST);
    } else if (a->api == RESPONSES) {
        event(e, a->api, "response.created");
        put_text(e, ",\"sequence_number\":0,\"response\":");
        put_format(e, RESPONSE_OBJECT "null}}\n\n", "in_progress", "");
        event(e, a->api, "response.output_item.added");
        put_text(e, ",\"sequence_number\":1,\"output_index\":0,\"item\":");
        put_format(e, tool ? ITEM_TOOL : ITEM_TEXT, "in_progress", "");
        put_text(e, "}\n\n");
        if (!tool) {
            event(e, a->api, "response.content_part.added");
            put_text(e, ",\"sequence_number\":2,\"item_id\":\"msg_bench01\",\"output_index\":0,\"content_index\":0,"
                        "\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"\"}}\n\n");
        }
    } else {
        event(e, a->api, "message_start");
        put_text(e, ",\"message\":");
        put_format(e, MESSAGE_HEAD "}\n\n", "", "null", 1);
        event(e, a->api, "content_block_start");
        put_text(e, tool ? ",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_bench01\","
                           "\"name\":\"Write\",\"input\":{}}}\n\n"
                         : ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    }
}

/* One delta; `text` is already escaped for a JSON string. */
static void delta(Answer *a, Bytes *e, bool tool, int i, const char *text, size_t size) {
    static const char *const HEADS[APIS][2] = {
        {CHAT_CHUNK "{\"content\":\"", CHAT_CHUNK "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\""},
        {"response.output_text.delta", "response.function_call_arguments.delta"},
        {",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"",
         ",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\""}};
    static const char *const TAILS[APIS][2] = {{"\"}" CHAT_REST, "\"}}]}" CHAT_REST},
                                               {"\",\"logprobs\":[]}\n\n", "\"}\n\n"},
                                               {"\"}}\n\n", "\"}}\n\n"}};
    if (a->api == RESPONSES) {
        event(e, a->api, HEADS[RESPONSES][tool]);
        put_format(e, ",\"sequence_number\":%d,\"item_id\":\"%s\",\"output_index\":0,", i + 3, tool ? "fc_bench01" : "msg_bench01");
        put_text(e, tool ? "\"delta\":\"" : "\"content_index\":0,\"delta\":\"");
    } else {
        event(e, a->api, "content_block_delta");
        put_text(e, HEADS[a->api][tool]);
    }
    put(e, text, size);
    put_text(e, TAILS[a->api][tool]);
}

/* The end: nothing of it says `text` again but the Responses API, which repeats everything. */
static void last_piece(Answer *a, Bytes *e, bool tool, const char *text) {
    int said = a->n;
    if (a->api == CHAT) {
        put_text(e, CHAT_CHUNK "{}");
        put_format(e, ",\"logprobs\":null,\"finish_reason\":\"%s\"}],\"usage\":null}\n\n", tool ? "tool_calls" : "stop");
        put_text(e, "data: {\"id\":\"chatcmpl-CbenchBenchBenchBenchBench01\",\"object\":\"chat.completion.chunk\","
                    "\"created\":1770000000,\"model\":\"bench-model\",\"choices\":[],");
        put_format(e, CHAT_USAGE "}\n\ndata: [DONE]\n\n", said, 1200 + said);
    } else if (a->api == RESPONSES) {
        Bytes item = {0}, part = {0};
        if (!tool) {
            put_text(&part, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
            put_text(&part, text);
            put_text(&part, "\"}");
        }
        put_text(&item, tool ? "{\"id\":\"fc_bench01\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":"
                               "\"call_bench01\",\"name\":\"Write\",\"arguments\":\""
                             : "{\"id\":\"msg_bench01\",\"type\":\"message\",\"status\":\"completed\",\"role\":"
                               "\"assistant\",\"content\":[");
        if (tool) put_text(&item, text);
        else put(&item, part.at, part.size);
        put_text(&item, tool ? "\"}" : "]}");
        event(e, a->api, tool ? "response.function_call_arguments.done" : "response.output_text.done");
        put_format(e, ",\"sequence_number\":%d,\"item_id\":\"%s\",\"output_index\":0,", said + 3, tool ? "fc_bench01" : "msg_bench01");
        put_text(e, tool ? "\"arguments\":\"" : "\"content_index\":0,\"logprobs\":[],\"text\":\"");
        put_text(e, text);
        put_text(e, "\"}\n\n");
        event(e, a->api, "response.output_item.done");
        put_format(e, ",\"sequence_number\":%d,\"output_index\":0,\"item\":", said + 4);
        put(e, item.at, item.size);
        put_text(e, "}\n\n");
        event(e, a->api, "response.completed");
        put_format(e, ",\"sequence_number\":%d,\"response\":{\"id\":\"resp_bench0123456789\",\"object\":\"response\","
                      "\"created_at\":1770000000,\"status\":\"completed\",\"error\":null,\"incomplete_details\":null,"
                      "\"model\":\"bench-model\",\"output\":[", said + 5);
        put(e, item.at, item.size);
        put_format(e, "],\"usage\":" RESPONSE_USAGE "}}\n\n", said, 1200 + said);
        free(item.at);
        free(part.at);
    } else {
        event(e, a->api, "content_block_stop");
        put_text(e, ",\"index\":0}\n\n");
        event(e, a->api, "message_delta");
        put_format(e, ",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":%d}}\n\n",
                   tool ? "tool_use" : "end_turn", said);
        event(e, a->api, "message_stop");
        put_text(e, "}\n\n");
    }
}

static void streamed(Answer *a) {
    Bytes e = {0}, said = {0};
    bool tool = a->kind == TOOL;
    put_text(&a->all, SSE_HEAD);
    first_piece(a, &e, tool);
    piece(a, &e, false);
    if (tool) {
        Bytes raw = {0};
        arguments(&raw, a->n);
        for (size_t at = 0, i = 0; at < raw.size; at += ARGUMENT_PIECE, i++) {
            size_t before = said.size, left = raw.size - at;
            escaped(&said, raw.at + at, left < ARGUMENT_PIECE ? left : ARGUMENT_PIECE);
            delta(a, &e, tool, (int)i, said.at + before, said.size - before);
            piece(a, &e, false);
        }
        free(raw.at);
    } else {
        for (int i = 0; i < a->n; i++) {
            put_text(&said, WORD(i));
            delta(a, &e, tool, i, WORD(i), strlen(WORD(i)));
            piece(a, &e, false);
        }
    }
    put(&said, "", 1);
    last_piece(a, &e, tool, said.at);
    piece(a, &e, true);
    free(e.at);
    free(said.at);
}

static void whole(Answer *a) {
    Bytes said = {0}, body = {0};
    for (int i = 0; i < a->n; i++) put_text(&said, WORD(i));
    put(&said, "", 1);
    if (a->api == CHAT) {
        put_text(&body, "{\"id\":\"chatcmpl-CbenchBenchBenchBenchBench01\",\"object\":\"chat.completion\",\"created\":"
                        "1770000000,\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
                        "\"assistant\",\"content\":\"");
        put_text(&body, said.at);
        put_text(&body, "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],");
        put_format(&body, CHAT_USAGE, a->n, 1200 + a->n);
        put_text(&body, ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\"}");
    } else {
        Bytes part = {0};
        put_text(&part, a->api == RESPONSES ? "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\""
                                            : "{\"type\":\"text\",\"text\":\"");
        put_text(&part, said.at);
        put(&part, "\"}", 3);
        if (a->api == RESPONSES) {
            char item[4096];
            snprintf(item, sizeof item, ITEM_TEXT, "completed", part.at);
            put_format(&body, RESPONSE_OBJECT, "completed", item);
            put_format(&body, RESPONSE_USAGE "}", a->n, 1200 + a->n);
        } else {
            put_format(&body, MESSAGE_HEAD, part.at, "\"end_turn\"", a->n);
        }
        free(part.at);
    }
    put_format(&a->all, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
                        "content-length: %zu\r\n\r\n", body.size);
    put(&a->all, body.at, body.size);
    a->ends = grown(NULL, sizeof *a->ends);
    a->ends[a->pieces++] = a->all.size;
    free(said.at);
    free(body.at);
}

/* The answer for this API and kind with `n` words (TOOL: characters of arguments). */
static Answer *answer_for(int api, int kind, int n) {
    static Answer *known[256];
    static int count;
    for (int i = 0; i < count; i++)
        if (known[i]->api == api && known[i]->kind == kind && known[i]->n == n) return known[i];
    if (count == 256) {
        fputs("too many kinds of answers\n", stderr);
        exit(1);
    }
    Answer *a = calloc(1, sizeof *a);
    if (!a) die("memory");
    *a = (Answer){.api = api, .kind = kind, .n = n};
    if (kind == WHOLE) whole(a);
    else streamed(a);
    return known[count++] = a;
}
#endif
