/* Cheap callers: keep-alive connections that ask POST /v1/validate, in a closed loop or on a schedule of arrivals.
 * usage: callers PLACE CONNECTIONS CALLS RATE SECONDS FIRST CYCLE BEFORE AFTER, and on stdin what stands before the
 * Content-Length, which has a token in it. PLACE is a Unix socket's path or a port of 127.0.0.1; call number n is
 * BEFORE n AFTER, n from FIRST on, modulo CYCLE if that is not 0. With RATE, single calls come when they are due, looked
 * at each millisecond: one without a free connection waits, and its latency counts from when it was due.
 * Prints one line: requests, ns of the whole, p50 and p99 in ns, counts of degraded answers and of the local cache's. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEGRADED "\"degraded\":"
#define DEGRADED_TRUE "\"degraded\":true"
#define LOCAL "\"layer\":\"local-cache\""
#define OK "HTTP/1.1 200"

typedef struct {
    int fd, busy;
    long since;
    char *in, *out;
    size_t room, have, whole, size, sent;
} Caller;

static const char *place, *before, *after;
static char head[4096];
static size_t connections, calls, head_length, before_length, after_length;
static long rate, until, number, cycle;
static Caller *callers;
static int poller;
static long *latencies;
static size_t requests, latencies_room;
static long degraded, local, under_way;

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void need(int bad, const char *what) {
    if (bad) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void *more(void *old, size_t size) {
    void *found = realloc(old, size);
    need(found == NULL, "realloc");
    return found;
}

static long count(const char *text, size_t length, const char *word) {
    size_t size = strlen(word);
    const char *end = text + length;
    long found = 0;
    while ((text = memmem(text, end - text, word, size)) != NULL) {
        found++;
        text += size;
    }
    return found;
}

static char *put(char *to, const char *text, size_t length) {
    memcpy(to, text, length);
    return to + length;
}

static void send_rest(Caller *one) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    while (one->sent < one->size) {
        ssize_t sent = send(one->fd, one->out + one->sent, one->size - one->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            event.events |= EPOLLOUT;
            need(epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &event) != 0, "epoll_ctl");
            return;
        }
        need(sent < 0, "send");
        one->sent += sent;
    }
}

static void ask(Caller *one, long since) {
    static char *body;
    static size_t room;
    if (body == NULL) body = more(NULL, room = calls * (before_length + after_length + 24) + 64);
    char *end = body;
    if (calls > 1) end = put(end, "{\"calls\":[", 10);
    for (size_t i = 0; i < calls; i++) {
        if (i) *end++ = ',';
        end = put(end, before, before_length);
        end += sprintf(end, "%ld", cycle ? number % cycle : number);
        end = put(end, after, after_length);
        number++;
    }
    if (calls > 1) end = put(end, "]}", 2);
    if (one->out == NULL) one->out = more(NULL, head_length + room + 64);
    char *to = put(one->out, head, head_length);
    to += sprintf(to, "Content-Length: %zu\r\n\r\n", (size_t)(end - body));
    to = put(to, body, end - body);
    one->size = to - one->out;
    one->sent = one->have = one->whole = 0;
    one->since = since;
    one->busy = 1;
    under_way++;
    send_rest(one);
}

static void answered(Caller *one, long at) {
    if (strncmp(one->in, OK, sizeof OK - 1) != 0 || count(one->in, one->have, DEGRADED) != (long)calls) {
        fprintf(stderr, "%.400s\n", one->in);
        exit(1);
    }
    degraded += count(one->in, one->have, DEGRADED_TRUE);
    if (cycle) local += count(one->in, one->have, LOCAL);
    if (requests == latencies_room) {
        latencies_room = latencies_room ? latencies_room * 2 : 1 << 16;
        latencies = more(latencies, latencies_room * sizeof *latencies);
    }
    latencies[requests++] = at - one->since;
    one->busy = 0;
    under_way--;
}

static int receive(Caller *one) {
    if (one->room - one->have < 4096) one->in = more(one->in, (one->room = one->room * 2 + 8192) + 1);
    ssize_t got = recv(one->fd, one->in + one->have, one->room - one->have, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return 0;
    need(got < 0, "recv");
    if (got == 0) {
        fprintf(stderr, "a connection was closed by the other side\n");
        exit(1);
    }
    one->have += got;
    one->in[one->have] = 0;
    if (!one->whole) {
        char *end = strstr(one->in, "\r\n\r\n"), *length = strstr(one->in, "Content-Length: ");
        if (end == NULL) return 0;
        if (length == NULL || length > end) {
            fprintf(stderr, "%.400s\n", one->in);
            exit(1);
        }
        one->whole = end + 4 - one->in + strtoul(length + 16, NULL, 10);
    }
    return one->have >= one->whole;
}

static void enter(Caller *one) {
    struct sockaddr_un near = {.sun_family = AF_UNIX};
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    int by_path = strchr(place, '/') != NULL;
    strncpy(near.sun_path, place, sizeof near.sun_path - 1);
    tcp.sin_port = htons(atoi(place));
    one->fd = socket(by_path ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    need(one->fd < 0, "socket");
    struct sockaddr *to = by_path ? (struct sockaddr *)&near : (struct sockaddr *)&tcp;
    need(connect(one->fd, to, by_path ? sizeof near : sizeof tcp) != 0, place);
    event.events = EPOLLIN;
    need(epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event) != 0, "epoll_ctl");
}

static int shorter(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static void run(long started) {
    struct epoll_event events[256];
    Caller **idle = more(NULL, connections * sizeof *idle);
    size_t free_count = 0, due = 0, asked = 0;
    for (size_t i = 0; i < connections; i++) {
        if (rate) idle[free_count++] = &callers[i];
        else ask(&callers[i], now());
    }
    while (under_way || asked < due || (rate && now() < until)) {
        if (rate) {
            long t = now(), last = t < until ? t : until;
            while (started + (long)(due * 1000000000L / rate) <= last) due++;
            for (; asked < due && free_count; asked++)
                ask(idle[--free_count], started + (long)(asked * 1000000000L / rate));
        }
        int found = epoll_wait(poller, events, 256, rate ? 1 : 10000);
        need(found < 0 && errno != EINTR, "epoll_wait");
        for (int i = 0; i < found; i++) {
            Caller *one = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
                need(epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &event) != 0, "epoll_ctl");
                send_rest(one);
            }
            if (!(events[i].events & ~EPOLLOUT) || !receive(one)) continue;
            long t = now();
            answered(one, t);
            if (rate) idle[free_count++] = one;
            else if (t < until) ask(one, t);
        }
    }
    free(idle);
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "usage: %s PLACE CONNECTIONS CALLS RATE SECONDS FIRST CYCLE BEFORE AFTER\n", argv[0]);
        return 2;
    }
    place = argv[1];
    connections = strtoul(argv[2], NULL, 10);
    calls = strtoul(argv[3], NULL, 10);
    rate = atol(argv[4]);
    number = atol(argv[6]);
    cycle = atol(argv[7]);
    before = argv[8], after = argv[9];
    head_length = fread(head, 1, sizeof head, stdin), before_length = strlen(before), after_length = strlen(after);
    poller = epoll_create1(0);
    callers = more(NULL, connections * sizeof *callers);
    memset(callers, 0, connections * sizeof *callers);
    for (size_t i = 0; i < connections; i++) enter(&callers[i]);
    long started = now();
    until = started + (long)(atof(argv[5]) * 1e9);
    run(started);
    long took = now() - started;
    need(requests == 0, "no answer");
    qsort(latencies, requests, sizeof *latencies, shorter);
    size_t p99 = (size_t)(requests * .99) < requests ? (size_t)(requests * .99) : requests - 1;
    printf("%zu %ld %ld %ld %ld %ld\n", requests, took, latencies[requests / 2], latencies[p99], degraded, local);
    return 0;
}
