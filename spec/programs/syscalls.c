/* System calls that Lua lacks, for the programs under test. They are built once for all versions
 * of Lua: arguments come and results go as strings, by functions that every version has. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

typedef struct lua_State lua_State;
extern const char *lua_tolstring(lua_State *, int, size_t *);
extern const char *lua_pushstring(lua_State *, const char *);
extern int lua_sethook(lua_State *, void (*)(lua_State *, void *), int, int);
extern int luaL_error(lua_State *, const char *, ...);
extern char **environ;

static const char *text(lua_State *L, int index) { return lua_tolstring(L, index, NULL); }
static long number(lua_State *L, int index) { return strtol(text(L, index), NULL, 0); }

static int answer(lua_State *L, long result) {
  char buffer[64];
  snprintf(buffer, sizeof buffer, "%ld", result);
  if (result == -1) snprintf(buffer, sizeof buffer, "failed: %s", strerror(errno));
  lua_pushstring(L, buffer);
  return 1;
}

int sys_chdir(lua_State *L) { return answer(L, chdir(text(L, 1))); }
int sys_chroot(lua_State *L) { return answer(L, chroot(text(L, 1))); }
int sys_umask(lua_State *L) { return answer(L, umask(number(L, 1))); }
int sys_nice(lua_State *L) { return answer(L, nice(number(L, 1))); }
int sys_setenv(lua_State *L) { return answer(L, setenv(text(L, 1), text(L, 2), 1)); }
int sys_name(lua_State *L) { return answer(L, prctl(PR_SET_NAME, text(L, 1))); }
int sys_pid(lua_State *L) { return answer(L, getpid()); }
int sys_open(lua_State *L) { return answer(L, open(text(L, 1), number(L, 2), 0644)); }
int sys_dup2(lua_State *L) { return answer(L, dup2(number(L, 1), number(L, 2))); }
int sys_flock(lua_State *L) { return answer(L, flock(number(L, 1), number(L, 2))); }
int sys_write(lua_State *L) { return answer(L, write(number(L, 1), text(L, 2), strlen(text(L, 2)))); }
int sys_truncate(lua_State *L) { return answer(L, truncate(text(L, 1), number(L, 2))); }
int sys_epoll(lua_State *L) { return answer(L, epoll_create1(0)); }
int sys_eventfd(lua_State *L) { return answer(L, eventfd(0, 0)); }
int sys_remove(lua_State *L) { return answer(L, unlink(text(L, 1))); }

/* mount(source, target): the one shows what the other holds, to this process alone from now on. */
int sys_mount(lua_State *L) {
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return answer(L, -1);
  return answer(L, mount(text(L, 1), text(L, 2), NULL, MS_BIND, NULL));
}

/* close(first, last): all of them. */
int sys_close(lua_State *L) {
  for (long descriptor = number(L, 1); descriptor <= number(L, 2); descriptor++) close(descriptor);
  return 0;
}

/* limit(soft): of open files. */
int sys_limit(lua_State *L) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = number(L, 1);
  return answer(L, setrlimit(RLIMIT_NOFILE, &limit));
}

/* exhaust(bytes): takes all memory but pieces smaller than that; relent() gives it back. */
static void **taken;

int sys_exhaust(lua_State *L) {
  struct rlimit limit;
  getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = 0; /* what there is may be kept */
  if (setrlimit(RLIMIT_AS, &limit) < 0) return answer(L, -1);
  for (long size = 1 << 20; size >= number(L, 1); size /= 2)
    for (void **piece; (piece = malloc(size)); taken = piece) *piece = taken;
  return answer(L, 0);
}

int sys_relent(lua_State *L) {
  struct rlimit limit;
  getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = limit.rlim_max;
  for (void **piece; (piece = taken); free(piece)) taken = *piece;
  return answer(L, setrlimit(RLIMIT_AS, &limit));
}

/* refuse_clones(): for want of memory, where the clone is to be a sibling. */
int sys_refuse_clones(lua_State *L) {
  const unsigned low = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 4;
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + low),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_PARENT, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return answer(L, -1);
  return answer(L, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* block(signal, 1 or 0) */
int sys_block(lua_State *L) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number(L, 1));
  return answer(L, sigprocmask(number(L, 2) ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL));
}

static void say(int signal) {
  char line[] = "signal 00\n";
  line[7] += signal / 10;
  line[8] += signal % 10;
  if (write(1, line, 10) < 0) _exit(1);
}

/* signal(number, 'handle' or 'ignore' or 'default') */
int sys_signal(lua_State *L) {
  const char *how = text(L, 2);
  signal(number(L, 1), *how == 'h' ? say : *how == 'i' ? SIG_IGN : SIG_DFL);
  return 0;
}

/* handle(number, 'raise' or 'say'): by a hook at the next instruction, as the interpreters treat Ctrl+C and as handlers
 * that are written in Lua are called: a signal handler may do nothing else. */
static lua_State *handling;
static int raises;

static void handle_now(lua_State *L, void *event) {
  (void)event;
  lua_sethook(L, NULL, 0, 0);
  if (raises) luaL_error(L, "raised by a handler");
  if (write(1, "handled\n", 8) < 0) _exit(1);
}

static void handle_soon(int signal) {
  (void)signal;
  lua_sethook(handling, handle_now, 1 | 2 | 8, 1); /* calls, returns, and one instruction */
}

int sys_handle(lua_State *L) {
  handling = L;
  raises = *text(L, 2) == 'r';
  signal(number(L, 1), handle_soon);
  return 0;
}

int sys_raise(lua_State *L) { return answer(L, raise(number(L, 1))); }

/* timer(seconds, interval): of real time, as alarm() uses. */
int sys_timer(lua_State *L) {
  struct itimerval timer = { { number(L, 2), 0 }, { number(L, 1), 0 } };
  return answer(L, setitimer(ITIMER_REAL, &timer, NULL));
}

/* The timer's interval, and whether it runs. */
int sys_timer_state(lua_State *L) {
  struct itimerval timer;
  char buffer[64];
  getitimer(ITIMER_REAL, &timer);
  snprintf(buffer, sizeof buffer, "%s every %ld s", timer.it_value.tv_sec > 0 ? "runs" : "is off",
           (long)timer.it_interval.tv_sec);
  lua_pushstring(L, buffer);
  return 1;
}

/* echo(1 or 0) on the terminal */
int sys_echo(lua_State *L) {
  struct termios modes;
  if (tcgetattr(0, &modes) < 0) return answer(L, -1);
  modes.c_lflag = number(L, 1) ? modes.c_lflag | ECHO : modes.c_lflag & ~ECHO;
  return answer(L, tcsetattr(0, TCSANOW, &modes));
}

int sys_terminal_modes(lua_State *L) {
  struct termios modes;
  return answer(L, tcgetattr(0, &modes) < 0 ? -1 : (long)modes.c_lflag);
}

static void *wait_for_ever(void *nothing) {
  pause();
  return nothing;
}

int sys_thread(lua_State *L) {
  pthread_t thread;
  return answer(L, pthread_create(&thread, NULL, wait_for_ever, NULL));
}

/* The target of a link, or "". */
int sys_readlink(lua_State *L) {
  char target[PATH_MAX];
  ssize_t length = readlink(text(L, 1), target, sizeof target - 1);
  target[length < 0 ? 0 : length] = '\0';
  lua_pushstring(L, target);
  return 1;
}

/* Position and flags of a descriptor. */
int sys_descriptor(lua_State *L) {
  char buffer[64];
  int descriptor = number(L, 1);
  snprintf(buffer, sizeof buffer, "at %ld, flags %o, %d", (long)lseek(descriptor, 0, SEEK_CUR),
           fcntl(descriptor, F_GETFL), fcntl(descriptor, F_GETFD));
  lua_pushstring(L, buffer);
  return 1;
}

/* The whole environment, in lines. */
int sys_environment(lua_State *L) {
  static char all[1 << 16];
  all[0] = '\0';
  for (char **entry = environ; *entry && strlen(all) + strlen(*entry) + 2 < sizeof all; entry++)
    strcat(strcat(all, *entry), "\n");
  lua_pushstring(L, all);
  return 1;
}

/* count(path): adds one to the number at the start of a file that is mapped, shared, once. */
int sys_count(lua_State *L) {
  static int *counter;
  if (!counter) {
    int descriptor = open(text(L, 1), O_RDWR | O_CREAT, 0644);
    if (descriptor < 0 || ftruncate(descriptor, 4096) < 0) return answer(L, -1);
    counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (counter == MAP_FAILED) return answer(L, -1);
  }
  return answer(L, ++*counter);
}
