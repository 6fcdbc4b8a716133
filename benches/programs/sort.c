// Question: how fast are data-dependent branches over an array: quicksort with insertion at the leaves, and heapsort?
// argv[1] is the number of rounds over 50,000 integers.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 50000, LEAF = 12 };

static int32_t numbers[COUNT];

static void fill(uint32_t seed) {
    for (int i = 0; i < COUNT; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        numbers[i] = (int32_t)seed;
    }
}

static void swap(int32_t *a, int32_t *b) {
    int32_t kept = *a;
    *a = *b;
    *b = kept;
}

static void insertion_sort(int32_t *a, int count) {
    for (int i = 1; i < count; i++) {
        int32_t moved = a[i];
        int j = i;
        while (j > 0 && a[j - 1] > moved) {
            a[j] = a[j - 1];
            j--;
        }
        a[j] = moved;
    }
}

static void quicksort(int32_t *a, int count) {
    while (count > LEAF) {
        int32_t *middle = a + count / 2, *last = a + count - 1;
        if (*middle < *a) swap(middle, a);
        if (*last < *a) swap(last, a);
        if (*last < *middle) swap(last, middle);
        int32_t pivot = *middle;
        int i = 0, j = count - 1;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i <= j) swap(&a[i++], &a[j--]);
        }
        // Recursion takes the shorter side, so that its depth is logarithmic.
        if (j + 1 < count - i) {
            quicksort(a, j + 1);
            a += i;
            count -= i;
        } else {
            quicksort(a + i, count - i);
            count = j + 1;
        }
    }
    insertion_sort(a, count);
}

static void sift(int32_t *a, int at, int count) {
    int32_t moved = a[at];
    for (;;) {
        int child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && a[child + 1] > a[child]) child++;
        if (a[child] <= moved) break;
        a[at] = a[child];
        at = child;
    }
    a[at] = moved;
}

static void heapsort_numbers(int32_t *a, int count) {
    for (int i = count / 2 - 1; i >= 0; i--) sift(a, i, count);
    for (int i = count - 1; i > 0; i--) {
        swap(&a[0], &a[i]);
        sift(a, 0, i);
    }
}

static uint32_t digest(uint32_t hash) {
    for (int i = 0; i < COUNT; i++) {
        if (i > 0 && numbers[i - 1] > numbers[i]) {
            puts("sort FAILED");
            exit(1);
        }
        hash = (hash ^ (uint32_t)numbers[i]) * 16777619u;
    }
    return hash;
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 50;
    uint32_t hash = 2166136261u;
    for (long i = 0; i < rounds; i++) {
        fill(hash | 1);
        quicksort(numbers, COUNT);
        hash = digest(hash);
        fill(hash | 1);
        heapsort_numbers(numbers, COUNT);
        hash = digest(hash);
    }
    printf("sort %ld %08x\n", rounds, hash);
    return 0;
}
