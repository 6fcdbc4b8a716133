// Question: how fast is ordinary integer code of an embedded kind, where lists, small matrices, a character state
// machine and a checksum take turns? argv[1] is the number of rounds.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { NODES = 256, SIDE = 16, TEXT = 512 };

struct node {
    struct node *next;
    int16_t key;
    int16_t rank;
};

static struct node nodes[NODES];
static int16_t left[SIDE][SIDE], right[SIDE][SIDE];
static int32_t product[SIDE][SIDE];
static char text[TEXT];

static uint16_t crc16(uint16_t crc, uint32_t value, int bits) {
    for (int i = 0; i < bits; i++) {
        uint16_t bit = (crc ^ value) & 1;
        crc >>= 1;
        value >>= 1;
        if (bit) crc ^= 0xa001;
    }
    return crc;
}

static struct node *list_of_nodes(uint32_t seed) {
    for (int i = 0; i < NODES; i++) {
        seed = seed * 1103515245u + 12345u;
        nodes[i].key = (int16_t)(seed >> 16);
        nodes[i].rank = (int16_t)i;
        nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
    }
    return nodes;
}

static struct node *list_reverse(struct node *head) {
    struct node *done = NULL;
    while (head) {
        struct node *next = head->next;
        head->next = done;
        done = head;
        head = next;
    }
    return done;
}

// Merges runs of doubling length until one run is left: stable, without recursion.
static struct node *list_sort(struct node *list) {
    for (int run = 1;; run *= 2) {
        struct node *rest = list, *tail = NULL;
        int merges = 0;
        list = NULL;
        while (rest) {
            struct node *a = rest, *b = rest;
            int in_a = 0, in_b = run;
            merges++;
            while (in_a < run && b) {
                b = b->next;
                in_a++;
            }
            while (in_a > 0 || (in_b > 0 && b)) {
                struct node *taken;
                if (in_a > 0 && (in_b == 0 || !b || a->key <= b->key)) {
                    taken = a;
                    a = a->next;
                    in_a--;
                } else {
                    taken = b;
                    b = b->next;
                    in_b--;
                }
                if (tail) tail->next = taken;
                else list = taken;
                tail = taken;
            }
            rest = b;
        }
        tail->next = NULL;
        if (merges <= 1) return list;
    }
}

static uint16_t lists(uint32_t seed, uint16_t crc) {
    struct node *list = list_sort(list_reverse(list_of_nodes(seed)));
    int found = 0;
    for (int wanted = 0; wanted < 8; wanted++) {
        for (struct node *at = list; at; at = at->next) {
            if (at->rank == (int16_t)(wanted * 31 % NODES)) {
                found += at->key;
                break;
            }
        }
    }
    for (struct node *at = list; at; at = at->next) crc = crc16(crc, (uint16_t)at->key, 16);
    return crc16(crc, (uint32_t)found, 32);
}

static uint16_t matrices(uint32_t seed, uint16_t crc) {
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            seed = seed * 69069u + 1u;
            left[i][j] = (int16_t)(seed >> 20);
            right[i][j] = (int16_t)(seed >> 8);
        }
    }
    int32_t sum = 0;
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            int32_t dot = 0;
            for (int k = 0; k < SIDE; k++) dot += (int32_t)left[i][k] * right[k][j];
            product[i][j] = dot;
            sum += (dot >> 3) & 0x7f;
            if (sum > 4096) sum -= dot & 0xfff;
        }
    }
    return crc16(crc16(crc, (uint32_t)sum, 32), (uint32_t)product[SIDE - 1][1], 32);
}

// Sorts the words of a text into kinds of numbers, one state for each place in a number.
enum state { START, SIGN, INTEGER, FRACTION, EXPONENT, EXPONENT_SIGN, SCIENTIFIC, INVALID, STATES };

static enum state step(enum state state, char c) {
    int digit = c >= '0' && c <= '9';
    switch (state) {
    case START:
        return digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? FRACTION : INVALID;
    case SIGN:
        return digit ? INTEGER : c == '.' ? FRACTION : INVALID;
    case INTEGER:
        return digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case FRACTION:
        return digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case EXPONENT:
        return digit ? SCIENTIFIC : c == '+' || c == '-' ? EXPONENT_SIGN : INVALID;
    case EXPONENT_SIGN:
    case SCIENTIFIC:
        return digit ? SCIENTIFIC : INVALID;
    default:
        return INVALID;
    }
}

static uint16_t state_machine(uint32_t seed, uint16_t crc) {
    static const char *const words[8] = {"5012", "-874.3", "+.12345", "5.5e+3", "-1e-9", "T0.3e-1F", "1e", "--7"};
    int length = 0;
    for (;;) {
        seed = seed * 1664525u + 1013904223u;
        const char *word = words[seed >> 29];
        int size = 0;
        while (word[size]) size++;
        if (length + size + 1 > TEXT) break;
        for (int i = 0; i < size; i++) text[length++] = word[i];
        text[length++] = ',';
    }
    uint32_t finals[STATES] = {0}, transitions[STATES] = {0};
    enum state state = START;
    for (int i = 0; i < length; i++) {
        if (text[i] == ',') {
            finals[state]++;
            state = START;
        } else {
            enum state next = step(state, text[i]);
            if (next != state) transitions[state]++;
            state = next;
        }
    }
    for (int i = 0; i < STATES; i++) crc = crc16(crc, finals[i] << 16 | transitions[i], 32);
    return crc;
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 7500;
    uint16_t crc = 0xffff;
    for (long i = 0; i < rounds; i++) {
        uint32_t seed = (uint32_t)i * 2654435761u + crc;
        crc = lists(seed, crc);
        crc = matrices(seed, crc);
        crc = state_machine(seed, crc);
    }
    printf("mixed_int %ld %04x\n", rounds, crc);
    return 0;
}
