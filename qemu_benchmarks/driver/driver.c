/*
 * Reads commands, a line each, and answers each by a line of JSON: an array.
 *
 *     new SLOT SIZE GRANULARITY          []      a bitmap, all zero, in one of four slots
 *     OPERATION SLOT ARGUMENT...         [...]   what the operation gives
 *     time N STEP OPERATION SLOT ...     [ns]    CPU time of N calls; call i has i * STEP added
 *                                                to the first argument
 *     operations                         [...]   the names of those that this driver has
 *     version                            [...]   of the library, where it tells
 *
 * Anything else ends it with exit code 2 and a line on stderr. Arguments are those of the library's
 * functions, which end the process where a range is wrong.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "driver.h"
#include <inttypes.h>
#include <time.h>

enum { N_SLOTS = 4, MAX_WORDS = 4 + 1 + MAX_ARGUMENTS };

#ifndef QEMU_VERSION
#define QEMU_VERSION "unknown"
#endif

static HBitmap *slots[N_SLOTS];
static Operation *operations;

void add_operation(Operation *operation)
{
    operation->next = operations;
    operations = operation;
}

static void refuse(const char *rule, const char *found)
{
    fprintf(stderr, "%s, not '%s'\n", rule, found);
    exit(2);
}

static int64_t number_of(const char *word)
{
    char *end;
    int64_t number;

    errno = 0;
    number = strtoll(word, &end, 10);
    if (errno || end == word || *end) {
        refuse("a number of 64 bits is needed", word);
    }
    return number;
}

static HBitmap **slot_of(int64_t number)
{
    if (number < 0 || number >= N_SLOTS) {
        refuse("slots are numbered from 0 to 3", "another");
    }
    return &slots[number];
}

HBitmap *bitmap_in(int64_t slot)
{
    HBitmap *bitmap = *slot_of(slot);

    if (!bitmap) {
        refuse("a slot needs a 'new' bitmap first", "an operation");
    }
    return bitmap;
}

static void make_bitmap(char **words, int n)
{
    HBitmap **slot;

    if (n != 3) {
        refuse("'new' takes a slot, a size and a granularity", "other words");
    }
    slot = slot_of(number_of(words[0]));
    if (*slot) {
        hbitmap_free(*slot);
    }
    *slot = hbitmap_alloc(number_of(words[1]), number_of(words[2]));
    puts("[]");
}

static const Operation *operation_called(const char *name)
{
    const Operation *operation;

    for (operation = operations; operation; operation = operation->next) {
        if (!strcmp(operation->name, name)) {
            return operation;
        }
    }
    refuse("a command or an operation of this driver is needed", name);
    return NULL;
}

/* The words are OPERATION SLOT ARGUMENT... */
static const Operation *prepare(Work *work, char **words, int n)
{
    const Operation *operation = operation_called(n ? words[0] : "");
    int i;

    if (n != 2 + operation->n_arguments) {
        refuse("an operation takes a slot and its arguments", operation->name);
    }
    work->bitmap = slot_of(number_of(words[1]));
    bitmap_in(number_of(words[1]));
    for (i = 0; i < operation->n_arguments; i++) {
        work->argument[i] = number_of(words[2 + i]);
    }
    return operation;
}

/* Callgrind counts from the entry of this function to its return: neither is optimized away. */
__attribute__((noinline)) void measured(const Operation *operation, Work *work);

void measured(const Operation *operation, Work *work)
{
    operation->run(work);
    __asm__ volatile("" ::: "memory");
}

static int64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void time_operation(char **words, int n)
{
    Work work = { .n = 0 };
    const Operation *operation;
    int64_t start;

    if (n < 2) {
        refuse("'time' takes a number of calls, a step and an operation", "fewer words");
    }
    operation = prepare(&work, words + 2, n - 2);
    work.n = number_of(words[0]);
    work.step = number_of(words[1]);
    start = cpu_ns();
    measured(operation, &work);
    printf("[%" PRId64 "]\n", cpu_ns() - start);
}

static void run_operation(char **words, int n)
{
    Work work = { .n = 1 };
    const char *separator = "";
    int i;

    prepare(&work, words, n)->run(&work);
    printf("[");
    for (i = 0; i < work.n_answers; i++) {
        printf("%s%" PRId64, separator, work.answer[i]);
        separator = ", ";
    }
    if (*work.text) {
        printf("%s\"%s\"", separator, work.text);
    }
    puts("]");
}

static void name_operations(void)
{
    const Operation *operation;
    const char *separator = "[";

    for (operation = operations; operation; operation = operation->next) {
        printf("%s\"%s\"", separator, operation->name);
        separator = ", ";
    }
    puts("]");
}

static int split(char *line, char **words)
{
    int n = 0;
    char *word;

    for (word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
        if (n == MAX_WORDS) {
            refuse("a line has at most eight words", word);
        }
        words[n++] = word;
    }
    return n;
}

int main(void)
{
    static char line[1024];
    char *words[MAX_WORDS];
    int n;

    while (fgets(line, sizeof(line), stdin)) {
        n = split(line, words);
        if (n && !strcmp(words[0], "new")) {
            make_bitmap(words + 1, n - 1);
        } else if (n && !strcmp(words[0], "time")) {
            time_operation(words + 1, n - 1);
        } else if (n && !strcmp(words[0], "operations")) {
            name_operations();
        } else if (n && !strcmp(words[0], "version")) {
            puts("[\"" QEMU_VERSION "\"]");
        } else {
            run_operation(words, n);
        }
        fflush(stdout);
    }
    return 0;
}
