// Counts lines, words and bytes of a file, or of standard input, and prints the words that come most often.
//
// Usage: words [FILE]
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096, LONGEST = 63, SHOWN = 5 };

struct word {
    struct word *next;
    long count;
    char text[LONGEST + 1];
};

static struct word *buckets[BUCKETS];
static long distinct;

static void count(const char *text) {
    unsigned hash = 2166136261u;
    for (const char *c = text; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    struct word **place = &buckets[hash % BUCKETS];
    while (*place && strcmp((*place)->text, text) != 0) place = &(*place)->next;
    if (!*place) {
        *place = calloc(1, sizeof **place);
        if (!*place) {
            fputs("words: out of memory\n", stderr);
            exit(1);
        }
        strcpy((*place)->text, text);
        distinct++;
    }
    (*place)->count++;
}

static int by_count(const void *left, const void *right) {
    const struct word *a = *(struct word *const *)left, *b = *(struct word *const *)right;
    if (a->count != b->count) return a->count < b->count ? 1 : -1;
    return strcmp(a->text, b->text);
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "standard input";
    FILE *file = argc > 1 ? fopen(name, "r") : stdin;
    if (!file) {
        fprintf(stderr, "words: %s: %s\n", name, strerror(errno));
        return 1;
    }
    long lines = 0, words = 0, bytes = 0;
    char text[LONGEST + 1];
    int length = 0;
    for (;;) {
        int c = getc(file);
        if (c != EOF && isalpha(c)) {
            if (length < LONGEST) text[length++] = (char)tolower(c);
        } else if (length > 0) {
            text[length] = 0;
            length = 0;
            words++;
            count(text);
        }
        if (c == EOF) break;
        bytes++;
        lines += c == '\n';
    }
    if (ferror(file)) {
        fprintf(stderr, "words: %s: %s\n", name, strerror(errno));
        return 1;
    }

    struct word **sorted = malloc((size_t)(distinct + 1) * sizeof *sorted);
    if (!sorted) {
        fputs("words: out of memory\n", stderr);
        return 1;
    }
    long found = 0;
    for (int i = 0; i < BUCKETS; i++)
        for (struct word *word = buckets[i]; word; word = word->next) sorted[found++] = word;
    qsort(sorted, (size_t)found, sizeof *sorted, by_count);

    printf("%s: %ld lines, %ld words, %ld different, %ld bytes\n", name, lines, words, distinct, bytes);
    for (long i = 0; i < found && i < SHOWN; i++) printf("%6ld %s\n", sorted[i]->count, sorted[i]->text);
    return 0;
}
