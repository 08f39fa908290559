/* A library whose import slots are sealed for good when it is loaded, and its function as one for Lua. */

#define _GNU_SOURCE
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

extern const char *lua_tolstring(void *, int, size_t *);
extern void lua_pushstring(void *, const char *);

static const char *state = "not sealed";

static int seal(struct dl_phdr_info *object, size_t size, void *own) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), address = (uintptr_t)own;
  const ElfW(Phdr) *sealed = NULL;
  int is_own = 0;
  (void)size;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    if (part->p_type == PT_GNU_RELRO) sealed = part;
    is_own |= part->p_type == PT_LOAD && address - (object->dlpi_addr + part->p_vaddr) < part->p_memsz;
  }
  if (!is_own || !sealed) return 0;
  uintptr_t start = (object->dlpi_addr + sealed->p_vaddr) & -page;
  uintptr_t end = (object->dlpi_addr + sealed->p_vaddr + sealed->p_memsz) & -page;
  if (syscall(SYS_mseal, start, end - start, 0) == 0) state = "sealed";
  return 1;
}

__attribute__((constructor)) static void seal_this(void) { dl_iterate_phdr(seal, (void *)seal_this); }

/* Whether the file is there; or whether the slots are sealed. */
int sealed_access(void *lua) {
  const char *path = lua_tolstring(lua, 1, NULL);
  lua_pushstring(lua, path ? access(path, R_OK) ? "none" : "there" : state);
  return 1;
}
