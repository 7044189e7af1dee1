/*
 * The driver of an HBitmap's operations: what its parts share.
 *
 * Each operation is a file of its own in operations/, compiled by itself: one that a version of
 * the library lacks, or that has another form there, does not compile and is left out.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef HBITMAP_DRIVER_H
#define HBITMAP_DRIVER_H

#include "qemu/osdep.h"
#include "qemu/hbitmap.h"

enum { MAX_ARGUMENTS = 3 };

/* A call of an operation, done n times: the i-th one i * step items further on. */
typedef struct Work {
    HBitmap **bitmap;              /* the first argument: the bitmap of a slot */
    int64_t argument[MAX_ARGUMENTS];
    int64_t n, step;
    int64_t answer[MAX_ARGUMENTS]; /* of the last call */
    int n_answers;
    char text[80];                 /* an answer in words, if not empty */
} Work;

typedef struct Operation {
    const char *name;
    int n_arguments;               /* beside the slot */
    void (*run)(Work *work);
    struct Operation *next;
} Operation;

void add_operation(Operation *operation);

/* The bitmap of a slot. Ends the driver if there is no such slot, or nothing in it. */
HBitmap *bitmap_in(int64_t slot);

/* Names the function below it as an operation, and makes it known before main() begins. */
#define OPERATION(operation, arguments)                                      \
    static void run_##operation(Work *work);                                 \
    static Operation the_##operation = {                                     \
        #operation, arguments, run_##operation, NULL                         \
    };                                                                       \
    __attribute__((constructor)) static void add_##operation(void)           \
    {                                                                        \
        add_operation(&the_##operation);                                     \
    }                                                                        \
    static void run_##operation(Work *work)

#endif
