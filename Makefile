# forkmon for those who work on it. To install it, LuaRocks is enough: `luarocks make`.

FEATURES := lua51 lua52 lua53 lua54 lua55 luajit

# Lua 5.5 is built with the specs; of the others, those that the machine has.
LUAS = $(shell for lua in lua5.1 lua5.2 lua5.3 lua5.4 luajit; do \
	command -v $$lua >/dev/null && echo $$lua; done) lua5.5

# LLVM's linker takes a % in a path for a place to fill in, and finds no such folder.
ifneq (,$(findstring %,$(CURDIR)))
export RUSTFLAGS += -C link-arg=-fuse-ld=bfd
endif

MAKEFLAGS += --no-print-directory

# Any Lua will do for a script without libraries.
ANY_LUA = $(shell for lua in lua5.4 lua5.3 lua5.2 lua5.1 luajit lua; do \
	command -v $$lua && break; done)

.PHONY: help demo test check-rust check-lua rooms rocks specs faults fresh soak bench dist clean

help:
	@echo "make demo    install what is missing, build, and show the quick example"
	@echo "make test    install what is missing, and run every check and spec on every Lua"
	@echo "make specs   run the specs only, on the rocks that are installed (make rocks)"
	@echo "make rooms   list which folders of the source import which, and what is wrong there"
	@echo "make faults TIMES=200   the specs in which processes are killed and stopped, so many times on every Lua"
	@echo "make fresh   as root: install on a minimal Debian, as README.md says, as an ordinary user"
	@echo "make soak MINUTES=10 [SEED=n]   random programs and edits on every Lua in turn"
	@echo "make bench   measure, print the tables and write them to docs/performance.md"
	@echo "make dist    make the source rock, and binary rocks of every Lua, of the last commit"
	@echo "make clean   delete everything that was built"

demo:
	@sh spec/setup.sh demo
	@bash examples/quick/demo.sh

# One after the other, quick ones first: cargo keeps all cores busy by itself.
test:
	@sh spec/setup.sh test
	@$(MAKE) check-lua
	@$(MAKE) check-rust
	@$(MAKE) rocks
	@$(MAKE) specs

check-lua:
	@echo "== luacheck"
	luacheck --quiet lua bin/forkmon spec examples bench

check-rust:
	@echo "== format"
	cargo fmt --check
	cargo fmt --check --manifest-path spec/host/Cargo.toml
	cargo fmt --check --manifest-path bench/floor/Cargo.toml
	@echo "== cargo test"
	cargo test --locked --quiet
	@echo "== clippy, without and with each Lua"
	cargo clippy --locked --quiet --all-targets -- -D warnings
	@set -e; for feature in $(FEATURES); do \
		echo "cargo clippy --features $$feature"; \
		cargo clippy --locked --quiet --all-targets --features $$feature -- -D warnings; \
	done
	@sh spec/cross.sh
	cargo clippy --locked --quiet --manifest-path spec/host/Cargo.toml --target-dir target/host -- -D warnings
	cargo clippy --locked --quiet --manifest-path bench/floor/Cargo.toml --target-dir target/floor -- -D warnings
	@echo "== documentation"
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --no-deps --document-private-items --features lua54

rooms:
	@$(ANY_LUA) spec/rooms.lua

rocks:
	@set -e; for lua in $(LUAS); do echo "== rock for $$lua"; sh spec/install.sh $$lua; done

specs:
	@echo "== specs"
	@sh spec/run.sh $(LUAS)

# On the rocks that are installed, until the first failure. Its seed is printed.
TIMES = 200
faults:
	@FORKMON_TEST_LUAS="$(LUAS)" lua5.3 "$$(command -v busted)" --output=plainTerminal --repeat=$(TIMES) \
		--no-keep-going spec/faults_spec.lua

fresh:
	@sh spec/fresh.sh

soak:
	@lua5.3 spec/soak.lua $(MINUTES) $(SEED)

# ONLY="resume compiler" measures these sections only, and writes nothing.
bench:
	@sh spec/setup.sh bench
	@sh spec/install.sh lua5.4 >/dev/null
	@cargo build --release --locked --quiet --manifest-path bench/floor/Cargo.toml --target-dir target/floor
	@lua5.3 bench/bench.lua $(ONLY)

dist:
	@sh spec/setup.sh test
	@sh rockspec/dist.sh target/dist $(LUAS)

clean:
	rm -rf target
