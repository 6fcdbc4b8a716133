// Question: how fast is f64 code with divisions and square roots over a few structures? argv[1] is the number of
// steps of a five-body system.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODIES = 5 };

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static struct body bodies[BODIES] = {
    {0, 0, 0, 0, 0, 0, 40.0},
    {5.0, -1.25, -0.125, 0.5, 2.75, -0.0625, 0.0375},
    {8.25, 4.125, -0.5, -1.0, 1.875, 0.0078125, 0.01125},
    {12.875, -15.125, -0.25, 1.0625, 0.875, -0.01171875, 0.00171875},
    {15.375, -25.875, 0.1875, 0.96875, 0.59375, -0.03515625, 0.00203125},
};

static void advance(double dt) {
    for (int i = 0; i < BODIES; i++) {
        struct body *p = &bodies[i];
        for (int j = i + 1; j < BODIES; j++) {
            struct body *q = &bodies[j];
            double dx = p->x - q->x, dy = p->y - q->y, dz = p->z - q->z;
            double square = dx * dx + dy * dy + dz * dz;
            double pull = dt / (square * sqrt(square));
            p->vx -= dx * q->mass * pull;
            p->vy -= dy * q->mass * pull;
            p->vz -= dz * q->mass * pull;
            q->vx += dx * p->mass * pull;
            q->vy += dy * p->mass * pull;
            q->vz += dz * p->mass * pull;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x += dt * bodies[i].vx;
        bodies[i].y += dt * bodies[i].vy;
        bodies[i].z += dt * bodies[i].vz;
    }
}

static double energy(void) {
    double sum = 0;
    for (int i = 0; i < BODIES; i++) {
        struct body *p = &bodies[i];
        sum += 0.5 * p->mass * (p->vx * p->vx + p->vy * p->vy + p->vz * p->vz);
        for (int j = i + 1; j < BODIES; j++) {
            struct body *q = &bodies[j];
            double dx = p->x - q->x, dy = p->y - q->y, dz = p->z - q->z;
            sum -= p->mass * q->mass / sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return sum;
}

int main(int argc, char **argv) {
    long steps = argc > 1 ? atol(argv[1]) : 1500000;
    for (long i = 0; i < steps; i++) advance(0.001);
    double sum = energy();
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    printf("nbody %ld %016llx\n", steps, (unsigned long long)bits);
    return 0;
}
