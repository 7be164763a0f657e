/* A cheap client: times one filesystem operation COUNT times in DIR and prints nanoseconds, one a line.
 * usage: fsclient OP DIR COUNT   OP: prepare spin stat read create overwrite rename unlink mkdir rmdir readdir fsync */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char block[4096];

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void need(int bad, const char *what, const char *path) {
    if (bad) {
        fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
        exit(1);
    }
}

static void put(const char *path, int flags) {
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
    need(fd < 0, "open", path);
    need(write(fd, block, sizeof block) != sizeof block, "write", path);
    need(close(fd) != 0, "close", path);
}

static void take(const char *path) {
    int fd = open(path, O_RDONLY);
    need(fd < 0, "open", path);
    need(read(fd, block, sizeof block) != sizeof block, "read", path);
    need(close(fd) != 0, "close", path);
}

static void list(const char *path) {
    DIR *dir = opendir(path);
    need(dir == NULL, "opendir", path);
    while (readdir(dir) != NULL) {
    }
    closedir(dir);
}

static void flush(const char *path) {
    int fd = open(path, O_WRONLY);
    need(fd < 0, "open", path);
    need(pwrite(fd, block, sizeof block, 0) != sizeof block, "pwrite", path);
    need(fsync(fd) != 0, "fsync", path);
    need(close(fd) != 0, "close", path);
}

static void spin(void) {
    volatile unsigned long sum = 0;
    for (int i = 0; i < 100000; i++) sum += i;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const char *op = argv[1], *dir = argv[2];
    int count = atoi(argv[3]);
    char path[4096], other[4096];
    struct stat info;
    memset(block, 'w', sizeof block);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/f%d", dir, i);
        snprintf(other, sizeof other, "%s/g%d", dir, i);
        long start = now();
        if (!strcmp(op, "spin")) spin();
        else if (!strcmp(op, "stat")) need(stat(path, &info) != 0, op, path);
        else if (!strcmp(op, "enoent")) need(stat(other, &info) == 0, op, path);
        else if (!strcmp(op, "read")) take(path);
        else if (!strcmp(op, "create")) put(path, O_EXCL);
        else if (!strcmp(op, "overwrite")) put(path, O_TRUNC);
        else if (!strcmp(op, "rename")) need(rename(path, other) != 0, op, path);
        else if (!strcmp(op, "renameback")) need(rename(other, path) != 0, op, path);
        else if (!strcmp(op, "unlink")) need(unlink(path) != 0, op, path);
        else if (!strcmp(op, "mkdir")) need(mkdir(other, 0755) != 0, op, other);
        else if (!strcmp(op, "rmdir")) need(rmdir(other) != 0, op, other);
        else if (!strcmp(op, "readdir")) list(dir);
        else if (!strcmp(op, "fsync")) flush(path);
        else return 2;
        printf("%ld\n", now() - start);
    }
    return 0;
}
