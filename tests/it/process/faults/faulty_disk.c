/* Loaded in front of libc (LD_PRELOAD) by tests/it/process/faults: makes calls on the files of the database
 * fail while the control file says so. Byte 0 of it is the errno for reads, byte 1 for writes, byte 2 for
 * syncs; zero lets the call through. Only files whose name begins with "firman.db" are concerned. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static const volatile unsigned char *control;

__attribute__((constructor)) static void open_control(void) {
    const char *path = getenv("FIRMAN_TEST_FAULTS");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) control = page;
    close(fd);
}

enum { READS, WRITES, SYNCS };

/* The errno to fail with; zero: go on. */
static int fault(int kind, int fd) {
    if (!control || !control[kind]) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (!name || strncmp(name + 1, "firman.db", 9) != 0) return 0;
    return control[kind];
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(kind, fd) \
    do { \
        int error = fault(kind, fd); \
        if (error) { \
            errno = error; \
            return -1; \
        } \
    } while (0)

ssize_t read(int fd, void *to, size_t n) { FAIL_IF(READS, fd); return NEXT(read)(fd, to, n); }
ssize_t pread(int fd, void *to, size_t n, off_t at) { FAIL_IF(READS, fd); return NEXT(pread)(fd, to, n, at); }
ssize_t pread64(int fd, void *to, size_t n, off64_t at) { FAIL_IF(READS, fd); return NEXT(pread64)(fd, to, n, at); }
ssize_t write(int fd, const void *from, size_t n) { FAIL_IF(WRITES, fd); return NEXT(write)(fd, from, n); }
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) { FAIL_IF(WRITES, fd); return NEXT(pwrite)(fd, from, n, at); }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) { FAIL_IF(WRITES, fd); return NEXT(pwrite64)(fd, from, n, at); }
int ftruncate(int fd, off_t size) { FAIL_IF(WRITES, fd); return NEXT(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { FAIL_IF(WRITES, fd); return NEXT(ftruncate64)(fd, size); }
int fsync(int fd) { FAIL_IF(SYNCS, fd); return NEXT(fsync)(fd); }
int fdatasync(int fd) { FAIL_IF(SYNCS, fd); return NEXT(fdatasync)(fd); }
