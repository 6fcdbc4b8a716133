// Question: how fast is pointer chasing with an allocator at work: a chained hash map that inserts, finds, removes and
// grows? argv[1] is the number of rounds of 20,000 keys.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct entry *next;
    uint32_t hash;
    uint32_t count;
    char key[];
};

struct map {
    struct entry **buckets;
    uint32_t size, used;
};

static uint32_t hash_of(const char *key) {
    uint32_t hash = 2166136261u;
    for (; *key; key++) hash = (hash ^ (unsigned char)*key) * 16777619u;
    return hash;
}

static void *allocate(size_t count, size_t size) {
    void *p = calloc(count, size);
    if (!p) {
        puts("hashmap: out of memory");
        exit(1);
    }
    return p;
}

static void grow(struct map *map) {
    uint32_t size = map->size ? map->size * 2 : 16;
    struct entry **buckets = allocate(size, sizeof *buckets);
    for (uint32_t i = 0; i < map->size; i++) {
        struct entry *at = map->buckets[i];
        while (at) {
            struct entry *next = at->next;
            at->next = buckets[at->hash & (size - 1)];
            buckets[at->hash & (size - 1)] = at;
            at = next;
        }
    }
    free(map->buckets);
    map->buckets = buckets;
    map->size = size;
}

static struct entry **find(struct map *map, const char *key, uint32_t hash) {
    struct entry **at = &map->buckets[hash & (map->size - 1)];
    while (*at && ((*at)->hash != hash || strcmp((*at)->key, key) != 0)) at = &(*at)->next;
    return at;
}

static uint32_t insert(struct map *map, const char *key) {
    if (map->used >= map->size) grow(map);
    uint32_t hash = hash_of(key);
    struct entry **at = find(map, key, hash);
    if (!*at) {
        size_t length = strlen(key) + 1;
        *at = allocate(1, sizeof **at + length);
        (*at)->hash = hash;
        memcpy((*at)->key, key, length);
        map->used++;
    }
    return ++(*at)->count;
}

static int take_out(struct map *map, const char *key) {
    struct entry **at = find(map, key, hash_of(key)), *gone = *at;
    if (!gone) return 0;
    *at = gone->next;
    free(gone);
    map->used--;
    return 1;
}

static void key_from(char key[16], uint32_t number) {
    int at = 0;
    do {
        key[at++] = "bcdfghjklmnpqrst"[number & 15];
        number >>= 4;
        key[at++] = "aeiou"[number % 5];
    } while (number && at < 14);
    key[at] = 0;
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 80;
    uint32_t hash = 7, seed = 1;
    for (long round = 0; round < rounds; round++) {
        struct map map = {0};
        char key[16];
        for (int i = 0; i < 20000; i++) {
            seed = seed * 1664525u + 1013904223u;
            key_from(key, seed >> 17);
            hash = hash * 31 + insert(&map, key);
        }
        for (int i = 0; i < 20000; i++) {
            seed = seed * 1664525u + 1013904223u;
            key_from(key, seed >> 17);
            hash = hash * 31 + (uint32_t)take_out(&map, key);
        }
        for (uint32_t i = 0; i < map.size; i++) {
            for (struct entry *at = map.buckets[i], *next; at; at = next) {
                next = at->next;
                hash += at->hash;
                free(at);
            }
        }
        hash += map.used;
        free(map.buckets);
    }
    printf("hashmap %ld %08x\n", rounds, hash);
    return 0;
}
