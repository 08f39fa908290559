/* Functions of libc by which C code reaches files, each as a Lua function that takes a path and returns what came of it
 * as a number. No header of Lua is needed: every Lua has these functions. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

typedef int (*function)(void *);
extern const char *lua_tolstring(void *, int, size_t *);
extern void lua_pushstring(void *, const char *);
extern void lua_pushcclosure(void *, function, int);
extern void lua_createtable(void *, int, int);
extern void lua_setfield(void *, int, const char *);

/* How many bytes can be read. */
static int length(int file) {
  char text[100];
  if (file < 0) return -1;
  int count = (int)read(file, text, sizeof text);
  close(file);
  return count;
}
static int length_of_stream(FILE *file) {
  char text[100];
  if (!file) return -1;
  int count = (int)fread(text, 1, sizeof text, file);
  fclose(file);
  return count;
}
static int size(int failed, const struct stat *found) { return failed ? -1 : (int)found->st_size; }
static int length_of_name(char *path) {
  int count = path ? (int)strlen(basename(path)) : -1;
  free(path);
  return count;
}
static int names(DIR *folder) {
  int count = 0;
  if (!folder) return -1;
  for (struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}
static int is_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* Sets `at` and `name` to what a path stands for by its folder. */
#define BY_FOLDER \
  char copy[500]; \
  snprintf(copy, sizeof copy, "%s", path); \
  char *name = strrchr(copy, '/'); \
  *name++ = 0; \
  int at = open(copy, O_PATH | O_DIRECTORY)

/* A path beside it. */
#define BESIDE \
  char to[500]; \
  snprintf(to, sizeof to, "%s.2", path)

#define FUNCTIONS \
  /* opening */ \
  F(open, result = length(open(path, O_RDONLY))) \
  F(open64, result = length(open64(path, O_RDONLY))) \
  F(openat, result = length(openat(AT_FDCWD, path, O_RDONLY))) \
  F(openat_folder, BY_FOLDER; result = length(openat(at, name, O_RDONLY)); close(at)) \
  F(fopen, result = length_of_stream(fopen(path, "r"))) \
  F(fopen64, result = length_of_stream(fopen64(path, "r"))) \
  F(freopen, result = length_of_stream(freopen(path, "r", fopen("/dev/null", "r")))) \
  /* asking */ \
  F(stat, result = size(stat(path, &found), &found)) \
  F(stat64, struct stat64 other; result = stat64(path, &other) ? -1 : (int)other.st_size) \
  F(lstat, result = size(lstat(path, &found), &found)) \
  F(fstatat, BY_FOLDER; result = size(fstatat(at, name, &found, 0), &found); close(at)) \
  F(statx, struct statx other; result = statx(AT_FDCWD, path, 0, STATX_SIZE, &other) ? -1 : (int)other.stx_size) \
  F(syscall_statx, struct statx other; \
    result = syscall(SYS_statx, AT_FDCWD, path, 0, STATX_SIZE, &other) ? -1 : (int)other.stx_size) \
  F(__xstat, int (*old)(int, const char *, struct stat *) = dlsym(RTLD_DEFAULT, "__xstat"); \
    result = size(old ? old(1, path, &found) : stat(path, &found), &found)) \
  F(__lxstat, int (*old)(int, const char *, struct stat *) = dlsym(RTLD_DEFAULT, "__lxstat"); \
    result = size(old ? old(1, path, &found) : lstat(path, &found), &found)) \
  F(__fxstatat, int (*old)(int, int, const char *, struct stat *, int) = dlsym(RTLD_DEFAULT, "__fxstatat"); \
    result = size(old ? old(1, AT_FDCWD, path, &found, 0) : stat(path, &found), &found)) \
  F(access, result = access(path, R_OK)) \
  F(eaccess, result = eaccess(path, R_OK)) \
  F(faccessat, result = faccessat(AT_FDCWD, path, R_OK, AT_EACCESS)) \
  F(readlink, result = (int)readlink(path, text, sizeof text)) \
  F(readlinkat, result = (int)readlinkat(AT_FDCWD, path, text, sizeof text)) \
  F(realpath, result = length_of_name(realpath(path, NULL))) \
  F(canonicalize_file_name, result = length_of_name(canonicalize_file_name(path))) \
  /* listing */ \
  F(opendir, result = names(opendir(path))) \
  F(fdopendir, result = names(fdopendir(open(path, O_RDONLY | O_DIRECTORY)))) \
  F(scandir, struct dirent **all; result = scandir(path, &all, is_visible, alphasort)) \
  F(glob, glob_t all = {0}; snprintf(text, sizeof text, "%s/*", path); \
    result = glob(text, 0, NULL, &all) ? 0 : (int)all.gl_pathc; globfree(&all)) \
  /* loading */ \
  F(dlopen, void *library = dlopen(path, RTLD_NOW); result = library ? 0 : -1) \
  F(dlsym, int (*asks)(const char *, int) = dlsym(RTLD_DEFAULT, "access"); result = asks(path, R_OK)) \
  F(later, void *library = dlopen("./later.so", RTLD_NOW); \
    int (*asks)(const char *) = library ? dlsym(library, "later_access") : NULL; result = asks ? asks(path) : -9) \
  /* changing */ \
  F(creat, result = close(creat(path, 0644))) \
  F(o_creat, result = close(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644))) \
  F(o_excl, unlink(path); result = close(open(path, O_RDWR | O_CREAT | O_EXCL, 0644))) \
  F(o_append, int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644); \
    result = write(file, "x", 1) == 1 ? close(file) : -1) \
  F(fopen_w, FILE *file = fopen(path, "w"); fputs("w", file); result = fclose(file)) \
  F(fopen_a, FILE *file = fopen(path, "a"); fputs("a", file); result = fclose(file)) \
  F(unlink, result = unlink(path)) \
  F(unlinkat, result = unlinkat(AT_FDCWD, path, 0)) \
  F(remove, result = remove(path)) \
  F(rmdir, result = rmdir(path)) \
  F(mkdir, rmdir(path); result = mkdir(path, 0755)) \
  F(mkdirat, rmdir(path); result = mkdirat(AT_FDCWD, path, 0755)) \
  F(mkfifo, unlink(path); result = mkfifo(path, 0644)) \
  F(symlink, unlink(path); result = symlink("x", path)) \
  F(symlinkat, unlink(path); result = symlinkat("x", AT_FDCWD, path)) \
  F(link, BESIDE; unlink(to); result = link(path, to)) \
  F(linkat, BESIDE; unlink(to); result = linkat(AT_FDCWD, path, AT_FDCWD, to, 0)) \
  F(rename, BESIDE; result = rename(path, to) + rename(to, path)) \
  F(renameat, BESIDE; result = renameat(AT_FDCWD, path, AT_FDCWD, to)) \
  F(renameat2, BESIDE; result = renameat2(AT_FDCWD, path, AT_FDCWD, to, 0)) \
  F(truncate, result = truncate(path, 0)) \
  F(utime, struct utimbuf times = {9, 9}; result = utime(path, &times)) \
  F(utimes, result = utimes(path, NULL)) \
  F(utimensat, result = utimensat(AT_FDCWD, path, NULL, 0)) \
  F(chmod, result = chmod(path, 0600)) \
  F(fchmodat, result = fchmodat(AT_FDCWD, path, 0600, 0)) \
  F(chown, result = chown(path, -1, -1)) \
  F(mkstemp, BESIDE; strcat(to, "XXXXXX"); result = close(mkstemp(to)) + unlink(to)) \
  F(mkdtemp, BESIDE; strcat(to, "XXXXXX"); result = mkdtemp(to) ? rmdir(to) : -1) \
  /* What a call leaves alone: `errno` where it succeeds, and the mask of signals. */ \
  F(quiet, sigset_t before, after; sigemptyset(&before); sigaddset(&before, SIGUSR2); \
    pthread_sigmask(SIG_SETMASK, &before, NULL); \
    errno = 77; int file = open(path, O_RDONLY); result = file < 0 || errno != 77; close(file); \
    errno = 77; result += stat(path, &found) || errno != 77; \
    errno = 77; result += access(path, R_OK) || errno != 77; \
    errno = 77; DIR *folder = opendir("."); result += !folder || errno != 77; \
    errno = 77; result += !readdir(folder) || errno != 77; closedir(folder); \
    errno = 77; result += open("f/none", O_RDONLY) != -1 || errno != ENOENT; \
    errno = 77; result += stat("f/none", &found) != -1 || errno != ENOENT; \
    errno = 77; result += opendir("f/none") != NULL || errno != ENOENT; \
    errno = 77; result += mkdir("f", 0755) != -1 || errno != EEXIST; \
    pthread_sigmask(SIG_SETMASK, NULL, &after); sigdelset(&before, SIGUSR2); \
    for (int signal = 1; signal < 32; signal++) \
      result += sigismember(&after, signal) != (signal == SIGUSR2); \
    pthread_sigmask(SIG_SETMASK, &before, NULL))

#define F(name, ...) \
  static int c_##name(void *state) { \
    const char *path = lua_tolstring(state, 1, NULL); \
    char text[500]; \
    struct stat found; \
    int result = -1; \
    (void)text, (void)found; \
    __VA_ARGS__; \
    snprintf(text, sizeof text, "%d", result); \
    lua_pushstring(state, text); \
    return 1; \
  }
FUNCTIONS
#undef F

#define F(name, ...) {#name, c_##name},
int luaopen_functions(void *state) {
  static const struct { const char *name; function function; } all[] = {FUNCTIONS};
  lua_createtable(state, 0, 100);
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
    lua_pushcclosure(state, all[i].function, 0);
    lua_setfield(state, -2, all[i].name);
  }
  return 1;
}

/* For the library that is loaded later. */
int later_access(const char *path) { return access(path, R_OK); }
