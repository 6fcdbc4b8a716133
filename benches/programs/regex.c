// Question: how fast is a backtracking matcher: short recursive functions, branches on bytes? The pattern language is
// literals, `.`, classes `[a-z]`, and the repeats `* + ?` after one of them. argv[1] is the number of passes.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 4096 };

static char text[SIZE + 1];

struct item {
    const char *start, *end;
    char repeat;
};

static struct item next_item(const char *pattern) {
    struct item item = {pattern, pattern + 1, 0};
    if (*pattern == '[') {
        while (*item.end != ']') item.end++;
        item.end++;
    }
    if (*item.end == '*' || *item.end == '+' || *item.end == '?') item.repeat = *item.end;
    return item;
}

static int matches_one(struct item item, char c) {
    if (c == 0) return 0;
    if (*item.start == '.') return c != '\n';
    if (*item.start != '[') return *item.start == c;
    for (const char *p = item.start + 1; p < item.end - 1; p++) {
        if (p[1] == '-' && p + 2 < item.end - 1) {
            if (c >= p[0] && c <= p[2]) return 1;
            p += 2;
        } else if (*p == c) {
            return 1;
        }
    }
    return 0;
}

// Gives the end of the longest-first match of `pattern` at `at`, or NULL.
static const char *match(const char *pattern, const char *at) {
    if (*pattern == 0) return at;
    struct item item = next_item(pattern);
    const char *rest = item.end + (item.repeat != 0);
    if (item.repeat == 0) return matches_one(item, *at) ? match(rest, at + 1) : NULL;
    const char *far = at;
    while (matches_one(item, *far)) {
        far++;
        if (item.repeat == '?') break;
    }
    const char *nearest = item.repeat == '+' ? at + 1 : at;
    for (; far >= nearest; far--) {
        const char *end = match(rest, far);
        if (end) return end;
    }
    return NULL;
}

static uint32_t search(const char *pattern, uint32_t hash) {
    for (const char *at = text; *at;) {
        const char *end = match(pattern, at);
        if (end && end > at) {
            hash = (hash ^ (uint32_t)(at - text)) * 16777619u;
            hash = (hash ^ (uint32_t)(end - at)) * 16777619u;
            at = end;
        } else {
            at++;
        }
    }
    return hash;
}

static void make_text(void) {
    static const char *const words[8] = {"id42",  "mail@host.example", "12:34:56", "aaaaaaab",
                                         "hello", "x1y2z3",            "3.14159",  "foo_bar"};
    uint32_t seed = 17;
    int at = 0;
    while (at < SIZE) {
        seed = seed * 1664525u + 1013904223u;
        for (const char *c = words[seed >> 29]; *c && at < SIZE; c++) text[at++] = *c;
        if (at < SIZE) text[at++] = (seed >> 20 & 7) ? ' ' : '\n';
    }
}

int main(int argc, char **argv) {
    long passes = argc > 1 ? atol(argv[1]) : 400;
    static const char *const patterns[] = {
        "[a-z]+@[a-z]+.[a-z]+", "[0-9]+:[0-9]+:[0-9]+", "a*a*a*b", "[a-z_]+[0-9]?[0-9]", "h.*o", "[a-z][0-9][a-z]",
    };
    uint32_t hash = 2166136261u;
    make_text();
    for (long pass = 0; pass < passes; pass++)
        for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++) hash = search(patterns[i], hash);
    printf("regex %ld %08x\n", passes, hash);
    return 0;
}
