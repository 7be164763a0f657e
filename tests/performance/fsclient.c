/* A cheap client: times one filesystem operation COUNT times in DIR and prints nanoseconds, one a line.
 * usage: fsclient OP DIR COUNT
 * on files f0..fCOUNT: create createown stat roundtrip enoent read readcold pread overwrite pwrite fsync rename renameback
 *   setxattr getxattr listxattr removexattr unlink
 * on folders g0..: mkdir rmdir; on DIR, COUNT times: readdir ls statfs renamefull (to DIR.moved and back)
 * on one file, COUNT MiB in one timing: seqwrite seqread
 * stat is of attributes that the kernel has just been told, pread of pages that it has; createown: no two files have the
 * same content; spin: a fixed loop, the noise probe. Exit code 3: the filesystem does not know the call */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static char block[4096], large[1 << 20];
static char path[4096], other[4096];
static long start;

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void need(int bad, const char *what) {
    if (bad) {
        if (errno == ENOTSUP || errno == ENOSYS) exit(3);
        fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
        exit(1);
    }
}

static void put(int flags) {
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
    need(fd < 0, "open");
    need(write(fd, block, sizeof block) != sizeof block, "write");
    need(close(fd) != 0, "close");
}

static void take(void) {
    int fd = open(path, O_RDONLY);
    need(fd < 0, "open");
    need(read(fd, block, sizeof block) != sizeof block, "read");
    need(close(fd) != 0, "close");
}

static void forget_pages(void) {
    int fd = open(path, O_RDONLY);
    need(fd < 0, "open");
    need(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0, "fadvise");
    close(fd);
    start = now();
}

static void list(const char *dir, int look) {
    struct stat info;
    struct dirent *entry;
    DIR *stream = opendir(dir);
    need(stream == NULL, "opendir");
    while ((entry = readdir(stream)) != NULL)
        if (look) need(fstatat(dirfd(stream), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0, "fstatat");
    closedir(stream);
}

/* content that no other file has */
static void put_own(int number) {
    snprintf(block, sizeof block, "%d of %d at %ld", number, getpid(), now());
    put(O_EXCL);
}

/* only the pread is timed */
static void take_known(void) {
    int fd = open(path, O_RDONLY);
    need(fd < 0, "open");
    need(pread(fd, block, sizeof block, 0) != sizeof block, "pread");
    start = now();
    need(pread(fd, block, sizeof block, 0) != sizeof block, "pread");
    long took = now() - start;
    close(fd);
    start = now() - took;
}

/* only the pwrite or the fsync is timed */
static void change(int sync) {
    int fd = open(path, O_WRONLY);
    need(fd < 0, "open");
    start = now();
    need(pwrite(fd, block, sizeof block, 0) != sizeof block, "pwrite");
    if (sync) need(fsync(fd) != 0, "fsync");
    long took = now() - start;
    need(close(fd) != 0, "close");
    start = now() - took;
}

static void stream(int writes, int mebibytes) {
    int fd = open(path, writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0644);
    need(fd < 0, "open");
    if (!writes) {
        need(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0, "fadvise");
        start = now();
    }
    for (int i = 0; i < mebibytes; i++)
        for (size_t done = 0; done < sizeof large;) {
            ssize_t moved = writes ? write(fd, large + done, sizeof large - done) : read(fd, large, sizeof large - done);
            need(moved <= 0, "stream");
            done += moved;
        }
    need(close(fd) != 0, "close");
}

static int move_folder(const char *dir, int back) {
    snprintf(other, sizeof other, "%s.moved", dir);
    return back ? rename(other, dir) : rename(dir, other);
}

static void spin(void) {
    volatile unsigned long sum = 0;
    for (int i = 0; i < 100000; i++) sum += i;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const char *op = argv[1], *dir = argv[2];
    int count = atoi(argv[3]), rounds = !strncmp(op, "seq", 3) ? 1 : count;
    struct stat info;
    struct statx far;
    struct statfs room;
    memset(block, 'w', sizeof block);
    for (size_t i = 0; i < sizeof large; i++) large[i] = (char)(i * 2654435761u >> 13);
    for (int i = 0; i < rounds; i++) {
        snprintf(path, sizeof path, "%s/f%d", dir, i);
        snprintf(other, sizeof other, "%s/g%d", dir, i);
        start = now();
        if (!strcmp(op, "stat")) {
            need(stat(path, &info) != 0, op);
            start = now();
        }
        if (!strcmp(op, "spin")) spin();
        else if (!strcmp(op, "stat")) need(stat(path, &info) != 0, op);
        else if (!strcmp(op, "roundtrip")) need(statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &far), op);
        else if (!strcmp(op, "enoent")) need(stat(other, &info) == 0, op);
        else if (!strcmp(op, "read")) take();
        else if (!strcmp(op, "readcold")) forget_pages(), take();
        else if (!strcmp(op, "create")) put(O_EXCL);
        else if (!strcmp(op, "overwrite")) put(O_TRUNC);
        else if (!strcmp(op, "pwrite")) change(0);
        else if (!strcmp(op, "fsync")) change(1);
        else if (!strcmp(op, "rename")) need(rename(path, other) != 0, op);
        else if (!strcmp(op, "renameback")) need(rename(other, path) != 0, op);
        else if (!strcmp(op, "unlink")) need(unlink(path) != 0, op);
        else if (!strcmp(op, "mkdir")) need(mkdir(other, 0755) != 0, op);
        else if (!strcmp(op, "rmdir")) need(rmdir(other) != 0, op);
        else if (!strcmp(op, "readdir")) list(dir, 0);
        else if (!strcmp(op, "ls")) list(dir, 1);
        else if (!strcmp(op, "pread")) take_known();
        else if (!strcmp(op, "createown")) put_own(i);
        else if (!strcmp(op, "statfs")) need(statfs(dir, &room) != 0, op);
        else if (!strcmp(op, "setxattr")) need(setxattr(path, "user.bench", block, 64, 0) != 0, op);
        else if (!strcmp(op, "getxattr")) need(getxattr(path, "user.bench", block, sizeof block) != 64, op);
        else if (!strcmp(op, "listxattr")) need(listxattr(path, block, sizeof block) <= 0, op);
        else if (!strcmp(op, "removexattr")) need(removexattr(path, "user.bench") != 0, op);
        else if (!strcmp(op, "renamefull")) need(move_folder(dir, i % 2) != 0, op);
        else if (!strcmp(op, "seqwrite")) stream(1, count);
        else if (!strcmp(op, "seqread")) stream(0, count);
        else return 2;
        printf("%ld\n", now() - start);
    }
    return 0;
}
