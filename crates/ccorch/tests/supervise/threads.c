// Whoever has this preloaded gets no more threads with the stack of those that work for one loop than the file named
// by THREADS_MOST says, as many as it likes where there is no such file; and none at all while there is the file named by
// THREADS_NONE.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static atomic_long made;

static int too_many(void) {
    const char *path = getenv("THREADS_MOST");
    char text[32] = {0};
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return atomic_fetch_add(&made, 1) >= (length > 0 ? atol(text) : 0);
}

static int none(void) {
    const char *path = getenv("THREADS_NONE");
    return path && access(path, F_OK) == 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *with) {
    size_t stack = 0;
    int ours = how && pthread_attr_getstacksize(how, &stack) == 0 && stack == 1 << 20;
    if (none() || (ours && too_many())) return EAGAIN;
    return ((create *)dlsym(RTLD_NEXT, "pthread_create"))(thread, how, start, with);
}
