/* Runs a command to which the kernel refuses some system calls, as old kernels and the seccomp rules of some containers
 * do:
 *
 *   refuse ENOSYS|EPERM CALL[,CALL]... COMMAND [ARGUMENT]... */

#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
  const char *name;
  unsigned number;
} calls[] = {
  { "clone3", SYS_clone3 },
  { "close_range", SYS_close_range },
  { "faccessat2", SYS_faccessat2 },
  { "get_robust_list", SYS_get_robust_list },
  { "inotify_init1", SYS_inotify_init1 },
  { "madvise", SYS_madvise },
  { "membarrier", SYS_membarrier },
  { "memfd_create", SYS_memfd_create },
  { "name_to_handle_at", SYS_name_to_handle_at },
  { "openat2", SYS_openat2 },
  { "pidfd_open", SYS_pidfd_open },
  { "pidfd_send_signal", SYS_pidfd_send_signal },
  { "process_madvise", SYS_process_madvise },
  { "process_vm_readv", SYS_process_vm_readv },
  { "rseq", SYS_rseq },
  { "setpriority", SYS_setpriority },
  { "statx", SYS_statx },
  { "timerfd_create", SYS_timerfd_create },
  { "userfaultfd", SYS_userfaultfd },
};

int main(int count, char **words) {
  struct sock_filter filter[64] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };
  unsigned short length = 1;
  if (count < 4) return 2;
  const unsigned answer = SECCOMP_RET_ERRNO | (strcmp(words[1], "EPERM") == 0 ? EPERM : ENOSYS);
  for (char *name = strtok(words[2], ","); name; name = strtok(NULL, ",")) {
    size_t i = 0;
    while (i < sizeof calls / sizeof *calls && strcmp(calls[i].name, name) != 0) i++;
    if (i == sizeof calls / sizeof *calls) {
      fprintf(stderr, "refuse: '%s' is not known here\n", name);
      return 2;
    }
    filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, answer);
  }
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = { length, filter };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
    perror("refuse");
    return 125;
  }
  execvp(words[3], words + 3);
  perror(words[3]);
  return 127;
}
